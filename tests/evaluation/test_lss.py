"""Parallel paragraphs of two texts, and the language-shift score over them, against plain loops."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import pytest
import torch
from families import DOCUMENT_END, random_mask
from samples import statistics_of
from test_steering import SHAPE, Counting
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, LapeError, NeuronMask, NotEnoughText, intervene
from lape.evaluation.metrics.bootstrap import draws, ratio
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.lss import CONTEXT_TOKENS, SCORED_TOKENS, lss, lss_items
from lape.evaluation.metrics.parallel import Parallel, best_matches, parallel_paragraphs

ENGLISH = [
    "The function SUM adds numbers\nIt takes up to 253 arguments of any kind\nEmpty cells are ignored by it",
    "Choose a printer before you print\nPress F5 to go on with the work\nThe A4 page is shown in the window",
    "Only this language has the page\nIt tells about the COUNT function and 77 examples",
    "A chart shows the data of a table\nIts axes are called X1 and Y1 by the program\nClick OK to close the dialog",
]
FRENCH = [
    "La fonction SUM additionne des nombres\nElle prend jusqu'à 253 arguments de toute sorte\n"
    "Elle ignore toutes les cellules vides",
    "Choisissez une imprimante avant d'imprimer\nAppuyez sur F5 pour continuer le travail\n"
    "Cette ligne manque en anglais et elle est bien plus longue que toutes celles qui lui ressemblent dans ce texte\n"
    "La page A4 est affichée dans la fenêtre",
    "Un diagramme montre les données d'un tableau\nSes axes sont nommés X1 et Y1 par le programme\n"
    "Cliquez sur OK pour fermer la boîte",
]


def test_paragraphs_are_matched_past_documents_and_paragraphs_that_are_missing() -> None:
    found = parallel_paragraphs(ENGLISH, FRENCH)
    lines, other = [text.split("\n") for text in ENGLISH], [text.split("\n") for text in FRENCH]
    assert found == [
        Parallel(lines[0][0], lines[0][1], other[0][1]),
        Parallel(lines[0][1], lines[0][2], other[0][2]),
        Parallel(lines[1][0], lines[1][1], other[1][1]),
        # The A4 line has no matched neighbour, because of the one that is missing.
        Parallel(lines[3][0], lines[3][1], other[2][1]),
        Parallel(lines[3][1], lines[3][2], other[2][2]),
    ]
    assert parallel_paragraphs(lambda: iter(ENGLISH), lambda: iter(FRENCH)) == found
    assert parallel_paragraphs(FRENCH, ENGLISH)[0] == Parallel(other[0][0], other[0][1], lines[0][1])


def test_texts_that_are_no_translations_have_no_parallel_paragraphs() -> None:
    assert parallel_paragraphs(ENGLISH, ["Il y a 9 chats ici\nEt 8 chiens là\nLe NORD est loin"]) == []
    assert parallel_paragraphs(ENGLISH, []) == []
    assert parallel_paragraphs(["\n \n"], FRENCH) == []


def test_matches_add_up_to_the_most() -> None:
    """Against every way of pairing rows and columns in order."""
    generator = torch.Generator().manual_seed(0)
    for rows, columns in itertools.product(range(1, 5), repeat=2):
        for _ in range(5):
            scores = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            ways = (
                list(zip(chosen, others, strict=True))
                for size in range(min(rows, columns) + 1)
                for chosen in itertools.combinations(range(rows), size)
                for others in itertools.combinations(range(columns), size)
            )
            most = max(ways, key=lambda way: sum(scores[pair] for pair in way))
            assert best_matches(scores) == most


def test_items_are_spread_evenly_and_wide_enough() -> None:
    many = ["\n".join(f"This is paragraph {place} of the long text" for place in range(30))]
    others = [many[0].replace("This is paragraph", "Voici le paragraphe").replace("of the long text", "du texte long")]
    corpora = {"en": many, "fr": others}
    found = lss_items(corpora, [("en", "fr"), ("fr", "en")], 5)
    assert list(found) == [("en", "fr"), ("fr", "en")]
    # 29 of 30, as the first has none before it.
    places = [1 + 29 * place // 5 for place in range(5)]
    assert [item.source for item in found["en", "fr"]] == [
        f"This is paragraph {place} of the long text" for place in places
    ]
    assert [item.target for item in found["en", "fr"]] == [
        f"Voici le paragraphe {place} du texte long" for place in places
    ]
    assert found["en", "fr"][0].before == "This is paragraph 0 of the long text"
    with pytest.raises(NotEnoughText, match="'en' and 'fr' have 29 parallel paragraphs, but 30 were asked for"):
        lss_items(corpora, [("en", "fr")], 30)
    with pytest.raises(LapeError, match="needs 2 items per pair, not 1"):
        lss_items(corpora, [("en", "fr")], 1)
    narrow = {"en": ["Press F1 now\nPress F2 now\nPress F3 now"], "fr": ["Tapez F1 ici\nTapez F2 ici\nTapez F3 ici"]}
    with pytest.raises(NotEnoughText, match="have 0 parallel paragraphs"):
        lss_items(narrow, [("en", "fr")], 2)


ITEMS = [
    Parallel("One day the dog", "It ran away from us", "Il a fui loin"),
    Parallel("When it rained", "We stayed at home", "Nous sommes restés chez nous"),
    Parallel("x" * 100, "A paragraph that is longer than what is scored of it", "Un"),
]


def plain_d(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, item: Parallel, plan: Intervention | None
) -> float:
    """log P(translation) - log P(paragraph), one token after the other."""
    context = [DOCUMENT_END, *tokenizer(item.before + "\n")["input_ids"][-CONTEXT_TOKENS:]]
    found = []
    for text in (item.target, item.source):
        ids, total = list(context), 0.0
        for token in tokenizer(text)["input_ids"][:SCORED_TOKENS]:
            with intervene(model, [plan]):
                logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
            total += float(logits.log_softmax(-1)[token])
            ids.append(token)
        found.append(total)
    return found[0] - found[1]


def test_lss_is_the_share_of_items_whose_translation_gains(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mask = random_mask(SHAPE)
    statistics = statistics_of({code: [[1] * SHAPE[1]] * SHAPE[0] for code in ("aa", "bb", "cc")})
    setting = Setting("replace", 3.0)
    settings = dict.fromkeys([("aa", "bb"), ("bb", "aa")], setting)
    items = {("aa", "bb"): ITEMS, ("bb", "aa"): ITEMS[:2]}
    cells = Counting()
    found = lss(tiny_model, tokenizer, {None: mask}, items, settings, statistics=statistics, seeds=(2,), cells=cells)
    assert cells.computed[:3] == [
        "lss baseline source=aa target=bb",
        "lss steered off=aa on=bb replace x3",
        "lss random2 off=aa on=bb replace x3",
    ]
    assert len(cells.computed) == 6
    json.dumps(found, allow_nan=False)
    for (source, target), listed in items.items():
        pair = found["pairs"][source][target]
        assert (pair["items"], pair["setting"]) == (len(listed), asdict(setting))
        for name, some in (("steered", mask), ("random2", mask.random_like(statistics, 2))):
            plan = Intervention(some, off=source, on=target, strength=3.0)
            shifts = [
                plain_d(tiny_model, tokenizer, item, plan) - plain_d(tiny_model, tokenizer, item, None)
                for item in listed
            ]
            figures = pair["conditions"][name]
            drawn, ones = draws(len(listed), f"{source} {target}"), [1.0] * len(listed)
            assert figures["lss"] == ratio([shift > 0 for shift in shifts], ones, drawn).interval()
            assert figures["shift_nats"] == pytest.approx(ratio(shifts, ones, drawn).interval(), rel=1e-3, abs=1e-3)
    for name in ("steered", "random2"):
        each = [found["pairs"][a][b]["conditions"][name]["lss"]["value"] for a, b in items]
        assert found["averages"][name]["lss"]["value"] == pytest.approx(sum(each) / 2)


def test_lss_of_what_changes_nothing_is_0(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    nothing = NeuronMask({"aa": torch.empty(0, 2), "bb": torch.empty(0, 2)}, {"bb": torch.empty(0)}, SHAPE)
    pairs = {("aa", "bb"): Setting("replace", 3.0)}
    found = lss(tiny_model, tokenizer, {None: nothing}, {("aa", "bb"): ITEMS}, pairs)
    assert found["averages"] == {
        "steered": {"lss": {"value": 0, "low": 0, "high": 0}, "shift_nats": {"value": 0, "low": 0, "high": 0}}
    }
