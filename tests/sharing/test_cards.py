"""Cards and the layer picture: what they say, what they keep, and what a hostile file cannot do to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token
from samples import mask_of, statistics_of

import lape.sharing
from lape.masks.bundled import bundled_folder
from lape.masks.picture import mask_svg
from lape.masks.summaries import MaskEntry
from lape.models.embedded import EMBEDDED, GEMMA, SMOLLM2
from lape.sharing.cards import Evidence, collection_card, mask_card
from lape.sharing.markdown import HUB, code
from lape.sharing.parcel import packed
from lape.sharing.readme import MARKS, own_text, updated
from lape.storage.names import STATISTICS_NAME

BEGIN, END = MARKS

MADE = {
    "model": "org/tiny",
    "revision": "abc123",
    "dtype": "bfloat16",
    "quantization": "4bit",
    "method": "lape",
    "settings": {"top_rate": 0.02},
    "tokens": {"fr": 1000, "es": 2000, "legal": 3000},
    "corpora": {"fr": [{"source": "fr.txt", "sha256": "0", "tokens": 1000}], "es": [], "legal": []},
    "library": {"lape": "0.1.0"},
    "date": "2024-02-29",
}
# fr and es share (0, 1): 4 different neurons of 8, Jaccard index 1 / 4; legal has none.
NEURONS = {"fr": [(0, 1), (0, 3), (1, 2)], "es": [(0, 1), (1, 0)], "legal": []}
MASK = mask_of(NEURONS, {"fr": [1.0, 2.0, 3.0], "es": [1.0, 2.0]}, **MADE)
BARE = mask_of(NEURONS, model="org/tiny", method="lape")
SVG = "{http://www.w3.org/2000/svg}"


def test_a_mask_of_gemma_says_its_terms() -> None:
    assert f"{GEMMA.notice_markdown}." in mask_card(mask_of(NEURONS, model=GEMMA.model, method="lape"))
    assert "licence" not in mask_card(mask_of(NEURONS, model=SMOLLM2.model, method="lape"))


def front_matter(card: str) -> dict[str, object]:
    return ModelCard(card).data.to_dict()


def tokens_of(card: str) -> Iterator[Token]:
    """What a Markdown reader makes of a card, without its front matter."""
    for block in MarkdownIt("commonmark").enable("table").parse(ModelCard(card).text):
        yield block
        yield from block.children or []


def links(card: str) -> set[str]:
    found = {token.attrs.get("href") or token.attrs.get("src") for token in tokens_of(card) if token.attrs}
    return {str(target) for target in found if target}


def rows(card: str) -> int:
    return sum(token.type == "tr_open" for token in tokens_of(card))


def html(card: str) -> list[str]:
    return [token.content.strip() for token in tokens_of(card) if token.type.startswith("html")]


# What a card says


def test_a_mask_card_says_what_the_mask_is() -> None:
    card = mask_card(MASK, collection="org/masks")
    assert front_matter(card) == {
        "library_name": "lape",
        "tags": ["lape", "language-specific-neurons"],
        "base_model": "org/tiny",
        "language": ["fr", "es"],
    }
    for line in (
        "| model | [`org/tiny`](https://huggingface.co/org/tiny), 2 layers x 4 neurons |",
        "| revision | `abc123` |",
        "| computed in | `bfloat16`, quantised to `4bit` |",
        "| method | `lape`: `top_rate` 0.02 |",
        "| mean activations | of French (`fr`), Spanish (`es`) only |",
        "| made with | `lape 0.1.0` |",
        "| recorded | `2024-02-29` |",
        "| French (`fr`) | 3 | 1,000 | `fr.txt` |",
        "| Spanish (`es`) | 2 | 2,000 |  |",
        "| `legal` | 0 | 3,000 |  |",
        "Different neurons: 4 of the model's 8. Shared by two or more languages: 1. Most alike are Spanish (`es`) and "
        "French (`fr`), with a Jaccard index of 0.25.",
        "![Neurons per layer and language](layers.svg)",
        "- No neurons were found for `legal`: these can be neither switched off nor on.",
    ):
        assert line in card.splitlines()
    assert "there are none for `legal`" in card
    assert "No measurements come with this mask" in card
    assert "@inproceedings{tang-etal-2024-language," in card
    assert "## Statistics" not in card
    assert "## Evidence" not in card


def test_the_examples_can_be_pasted() -> None:
    card = mask_card(MASK, collection="org/masks", method="lape-top0.02")
    python = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    compile(python, "card", "exec")
    assert 'from_pretrained("org/masks", model="org/tiny", method="lape-top0.02")' in python
    assert 'lape.Intervention(mask, off="fr", on="es")' in python
    shell = re.search(r"```sh\n(.*?)```", card, re.DOTALL)[1].splitlines()
    assert shell == [
        "lape pull org/masks --model org/tiny --method lape-top0.02",
        'lape generate "Your prompt" --model org/tiny --mask precomputed/org--tiny/lape-top0.02 --off fr --on es',
    ]
    alone = mask_card(MASK)
    assert 'from_pretrained(model="org/tiny", method="lape")' in alone
    assert "lape pull" not in alone


def test_the_example_calls_what_lape_has() -> None:
    named = re.findall(r"lape\.(\w+)", "\n".join(re.findall(r"```python\n(.*?)```", mask_card(MASK), re.DOTALL)))
    assert {"load_model", "NeuronMask", "intervene", "Intervention"} <= set(named)
    assert all(hasattr(lape, name) for name in named)


def test_the_examples_fit_the_command_line() -> None:
    from lape.cli import _parser

    shell = re.search(r"```sh\n(.*?)```", mask_card(MASK, collection="org/masks"), re.DOTALL)[1]
    for line in shell.splitlines():
        _parser().parse_args(re.sub('"Your prompt"', "prompt", line).split()[1:])


def test_a_mask_without_means_is_not_said_to_steer() -> None:
    card = mask_card(BARE)
    assert "| mean activations | none: languages can be switched off, not on |" in card
    assert 'Intervention(mask, off="fr"))' in card
    assert "--on" not in card
    assert "`lape calibrate` adds them" in card
    assert "it answers in that one" not in card
    assert "| language | neurons |\n|---|---:|\n| French (`fr`) | 3 |\n" in card
    assert "recorded" not in card


def test_calibration_and_release_are_told() -> None:
    calibration = {"tokens": {"fr": 5120, "es": 5120}, "dtype": "float32", "quantization": None, "date": "2026-01-02"}
    calibration["means"] = "quantile 0.9 of means of texts"
    released = {"file": "LLaMA.pth", "sha256": "0f", "url": "https://example.org/LLaMA.pth"}
    card = mask_card(
        mask_of(NEURONS, {"fr": [1.0, 2.0, 3.0]}, model="org/tiny", calibration=calibration, released=released)
    )
    means = "of French (`fr`) only, measured later: 5,120 tokens per language, "
    means += "`quantile 0.9 of means of texts`, `float32`, `2026-01-02`"
    assert f"| mean activations | {means} |" in card
    assert "| released as | file `LLaMA.pth`, sha256 `0f`, url `https://example.org/LLaMA.pth` |" in card
    assert "https://example.org/LLaMA.pth" not in links(card)


def test_statistics_and_evidence_have_their_sections() -> None:
    statistics = statistics_of({"fr": [[1] * 4] * 2, "es": [[1] * 4] * 2})
    evidence = [Evidence("steering.json", "Steering", "92 % of 20"), Evidence("overlap.png")]
    card = mask_card(MASK, statistics=statistics, evidence=evidence)
    assert "every neuron was active in 2 languages" in card
    assert "- [`steering.json`](evidence/steering.json) `Steering`: `92 % of 20`\n- [`overlap.png`]" in card
    assert "No measurements" not in card


def test_one_language_and_no_shared_neuron() -> None:
    card = mask_card(mask_of({"fr": [(0, 1)]}, {"fr": [1.0]}, model="org/tiny", method="lape"))
    assert "Different neurons: 1 of the model's 8. Shared by two or more languages: 0.\n" in card
    assert 'Intervention(mask, off="fr"))' in card
    assert "| mean activations | of all languages |" in card


def test_a_card_names_tags_and_gives_the_hub_their_languages() -> None:
    mask = mask_of({"pt-BR": [(0, 1)], "pt": [], "arb_Arab": [], "legal": []})
    card = mask_card(mask, collection="org/masks")
    assert front_matter(card)["language"] == ["pt", "ar"]
    rows = [line.split(" | ")[0] for line in card.splitlines() if line.startswith(("| Port", "| Arab", "| `legal"))]
    assert rows == ["| Portuguese (`pt-BR`)", "| Portuguese (`pt`)", "| Arabic (`arb_Arab`)", "| `legal`"]
    named = [text for text in texts(mask_svg(mask)) if "(" in text]
    assert named[:3] == ["Portuguese (pt)", "Portuguese (pt-BR)", "Arabic (arb_Arab)"]  # relatives together


def test_a_collection_card_lists_every_mask() -> None:
    entries = [MaskEntry("org/tiny", "lape-b", {"fr": 3, "es": 1200}), MaskEntry("a/b", "lape", {"en": 1, "legal": 2})]
    card = collection_card(entries, collection="org/masks")
    assert front_matter(card)["base_model"] == ["a/b", "org/tiny"]
    assert front_matter(card)["language"] == ["en", "es", "fr"]
    table = [line for line in card.splitlines() if line.startswith("| [")]
    assert table == [
        f"| [`a/b`]({HUB}/a/b) | [`lape`]({HUB}/org/masks/tree/main/a--b/lape) | 2 |",
        f"| [`org/tiny`]({HUB}/org/tiny) | [`lape-b`]({HUB}/org/masks/tree/main/org--tiny/lape-b) | 2 |",
    ]
    assert "## `org/tiny`, `lape-b`\n\nNeurons: Spanish (`es`) 1,200, French (`fr`) 3." in card
    assert "![Neurons per layer and language](org--tiny/lape-b/layers.svg)" in card
    assert collection_card(entries[::-1], collection="org/masks") == card
    assert collection_card(entries, collection="org/masks", previous=card) == card


def test_the_bundled_mask_has_a_card_of_moderate_size() -> None:
    folder = bundled_folder(SMOLLM2.model)
    mask = lape.NeuronMask.load(folder)
    card = mask_card(mask, statistics=lape.ActivationStatistics.load(folder / STATISTICS_NAME))
    assert "Different neurons: 3,686 of the model's 46,080. Shared by two or more languages: 2,084." in card
    assert "| French (`fr`) | 935 | 40,960 | `fr.train.txt` |" in card
    assert len(card) < 8_000
    assert mask_card(mask, statistics=lape.ActivationStatistics.load(folder / STATISTICS_NAME), previous=card) == card


@pytest.mark.parametrize("model", [each.model for each in EMBEDDED])
def test_the_card_beside_a_bundled_mask_is_the_one_that_is_made_today(model: str) -> None:
    parcel = packed(bundled_folder(model))
    assert parcel.readme is not None
    given = {"statistics": parcel.statistics, "evidence": parcel.evidence, "method": parcel.method}
    assert mask_card(parcel.mask, **given, previous=parcel.readme) == parcel.readme


# An existing README

OURS = {"library_name": "lape", "tags": ["lape"], "base_model": "org/tiny"}


@pytest.mark.parametrize(
    "previous",
    [
        "",
        "# Mine",
        "# Mine\n",
        "# Mine\n\n",
        "\n\n\n",
        "---\nlicense: mit\n---\n\n# Mine\n",
        "---\r\nlicense: mit\r\n---\r\n# Mine\r\nline\r\n",
        "\ufeff---\nlicense: mit\n---\n# Mine\n",
        "---\n# comment\nlicense: mit  # why\ntags:\n  - mine\n  - lape\nwidget:\n- text: 'a: b'\n---\nText\n---\nmore",
        "---\n{license: mit, tags: [mine]}\n---\nText\n",
        "---\ntags: mine\nbase_model:\n- other/model\n- another/model\n\n# the licence\nlicense: mit\n---\nText\n",
        "---\ntags: null\nlicense:\n---\nText\n",
        f"before\n{BEGIN}\nold\n{END}\nafter\n",
        f"---\nlicense: mit\n---\nbefore\r\n{BEGIN}\r\nold\r\n{END}  \r\nafter",
        f"Not a mark: `{BEGIN}` {END}\n",
        "Two\u2028lines, a \\1 and a \\g<0>, $model\n",
    ],
)
def test_the_owners_text_stays_and_twice_is_once(previous: str) -> None:
    card = updated(previous, OURS, "Our part \\1 $x")
    assert updated(card, OURS, "Our part \\1 $x") == card
    assert card.count("Our part \\1 $x") == 1
    before = own_text(previous)
    assert own_text(card).startswith(before) if BEGIN + "\n" not in previous else own_text(card) == before
    old = re.match(r"\ufeff?---\r?\n(.*?)\r?\n---\r?\n", previous, re.DOTALL)
    owner = (yaml.safe_load(old[1]) if old else None) or {}
    new = yaml.safe_load(re.match(r"\ufeff?---\r?\n(.*?)\r?\n---\r?\n", card, re.DOTALL)[1])
    theirs = owner.get("tags") or []
    theirs = theirs if isinstance(theirs, list) else [theirs]
    assert new == {**owner, **OURS, "tags": [*theirs, *(["lape"] if "lape" not in theirs else [])]}
    # A later state of ours replaces the earlier one, and only that.
    later = updated(card, {**OURS, "base_model": "org/new"}, "New part")
    assert own_text(later) == own_text(card)
    assert "Our part" not in later
    assert updated(later, OURS, "Our part \\1 $x") == card


def test_only_our_lines_of_the_front_matter_change() -> None:
    previous = (
        "---\n# kept\nlicense: 'mit'   # kept too\nbase_model:\n- old/one\n- old/two\n# about the title\n"
        'title: "a: b"\ntags: [mine]\n---\nText\n'
    )
    card = updated(previous, OURS, "part")
    assert card.startswith(
        "---\n# kept\nlicense: 'mit'   # kept too\nbase_model: org/tiny\n# about the title\n"
        'title: "a: b"\ntags:\n- mine\n- lape\nlibrary_name: lape\n---\nText\n'
    )


def test_front_matter_that_is_right_is_not_touched() -> None:
    previous = "---\ntags: [ lape,   mine ]\nlibrary_name:   lape # yes\nbase_model: 'org/tiny'\n---  \n# Mine\n"
    assert updated(previous, OURS, "part") == f"{previous}\n{BEGIN}\npart\n{END}\n"


def test_line_ends_are_those_of_the_readme() -> None:
    card = updated("---\r\nlicense: mit\r\n---\r\n# Mine\r\n", OURS, "one\ntwo")
    assert "\n" not in card.replace("\r\n", "")


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("---\na: [\n---\n", "is not YAML"),
        ("---\n- a\n- b\n---\n", "must be keys with values"),
        ("---\njust text\n---\n", "must be keys with values"),
        ("---\n1: one\n---\n", "must be keys with values"),
        ("---\nday: 2024-99-99\n---\n", "is not YAML"),
        (f"{BEGIN}\n", "once each"),
        (f"{END}\n", "once each"),
        (f"{END}\n{BEGIN}\n", "once each"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", "once each"),
        (f"{BEGIN}\na\n{END}\n{BEGIN}\nb\n{END}\n", "once each"),
    ],
)
def test_a_readme_that_cannot_be_updated_is_refused(readme: str, expected: str) -> None:
    with pytest.raises(lape.BadFile, match=expected):
        updated(readme, OURS, "part")
    with pytest.raises(lape.BadFile, match=expected):
        own_text(readme)


# Hostile files

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example a@evil.example",
    "x |\n| injected | row |\n| a | b",
    "x\n\n# Injected\n\n---\nlicense: evil\n---\n",
    "`code` ``more`` `",
    "```\n<b>bold</b>\n```",
    "``",
    f"{END}\n\ntext of mine\n",
    f"x\n{BEGIN}\n",
    "$model ${model} {model} %s \\",
    "\u202eevil\u2066 \x00\x1b[31m\u2028<b>",
    "&lt;b&gt; <!-- -->",
    "",
    " ",
    "x" * 5000,
)


def hostile(text: str) -> lape.NeuronMask:
    """A mask that says this wherever a file can say something."""
    about = {
        "model": text,
        "revision": text,
        "dtype": text,
        "quantization": text,
        "method": text,
        "settings": {text: text, f"{text}1": [text], f"{text}2": {text: text}},
        "tokens": {"fr": text, text: text},
        "corpora": {"fr": [{"source": text}], text: [{"source": f"{text}{n}"} for n in range(9)]},
        "library": {text: text},
        "date": text,
        "calibration": {"tokens": {text: text}, "dtype": text, "quantization": text, "date": text},
        "released": {text: text, "url": text},
    }
    # Two languages with the same neurons, so that the most alike are named.
    return mask_of({"fr": [(0, 1)], text: [(0, 1)]}, {"fr": [1.0], text: [1.0]}, **about)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_mask_writes_nothing_but_code_spans(attack: str) -> None:
    evidence = [Evidence("a.json", attack, attack)]
    card = mask_card(hostile(attack), evidence=evidence, collection="org/masks", method="lape")
    tame = mask_card(
        hostile("tame"), evidence=[Evidence("a.json", "tame", "tame")], collection="org/masks", method="lape"
    )
    assert html(card) == [BEGIN, END]
    assert links(card) == {"evidence/a.json", "layers.svg", "https://arxiv.org/abs/2402.16438"}
    assert rows(card) == rows(tame) - (5 if attack == "" else 0)  # what is empty has no row
    headings = [token.tag for token in tokens_of(card) if token.type == "heading_open"]
    assert headings == [token.tag for token in tokens_of(tame) if token.type == "heading_open"]
    assert not any(token.type == "text" and "evil" in token.content for token in tokens_of(card))
    assert front_matter(card) == {
        "library_name": "lape",
        "tags": ["lape", "language-specific-neurons"],
        "language": ["fr"],
    }
    again = mask_card(hostile(attack), evidence=evidence, collection="org/masks", method="lape", previous=card)
    assert again == card
    assert len(card) < 12_000


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_entry_of_a_collection_writes_nothing_but_code_spans(attack: str) -> None:
    card = collection_card([MaskEntry(attack, attack, {attack: 1})], collection="org/masks")
    assert html(card) == [BEGIN, END]
    assert links(card) == {"https://arxiv.org/abs/2402.16438"}
    assert rows(card) == 2
    assert "base_model" not in front_matter(card)
    assert collection_card([MaskEntry(attack, attack, {attack: 1})], collection="org/masks", previous=card) == card


@pytest.mark.parametrize("wrong", [None, 3, "text", [1], [[1]], {"fr": 3}, {"fr": [3]}, {"fr": None}])
def test_metadata_of_the_wrong_types_is_no_fault_of_ours(wrong: object) -> None:
    keys = ("settings", "tokens", "corpora", "library", "calibration", "released", "method", "date", "model")
    card = mask_card(mask_of(NEURONS, {"fr": [1.0, 2.0, 3.0]}, **dict.fromkeys(keys, wrong)))
    assert "| French (`fr`) | 3 |" in card


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fr", "`fr`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a|b", "`a¦b`"),
        ("a\r\n b\t", "`a b`"),
        ("\u202eb\x00c", "`b c`"),
        ("", "`?`"),
        ("日本語", "`日本語`"),
        ("x" * 121, f"`{'x' * 119}…`"),
    ],
)
def test_code_spans(text: str, expected: str) -> None:
    assert code(text) == expected


# The layer picture


def cells(svg: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter(f"{SVG}rect") if one.get("class") == "cell"]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_picture_has_a_cell_for_each_layer_with_neurons() -> None:
    svg = mask_svg(MASK)
    # fr has 2 and 1, es 1 and 1; the key shows 1 and 2.
    assert len(cells(svg)) == 4 + 2
    assert [cell.get("opacity") for cell in cells(svg)][:4] == ["1", "0.74", "0.74", "0.74"]  # 0.12 + 0.88 sqrt(1 / 2)
    assert texts(svg)[:8] == [
        "Neurons per layer and language", "all", "French (fr)", "3", "Spanish (es)", "2", "legal", "0",
    ]  # fmt: skip
    assert mask_svg(MASK) == svg
    root = ElementTree.fromstring(svg)
    assert root.find(f"{SVG}title").text == "Neurons per layer and language: org/tiny"
    assert "French (fr): 3 neurons, most in layer 0; " in root.find(f"{SVG}desc").text
    assert "legal: 0 neurons." in root.find(f"{SVG}desc").text
    assert root.get("role") == "img"
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (1, [0]),
        (2, [0, 1]),
        (30, [*range(0, 28, 2), 29]),
        (80, [*range(0, 80, 5), 79]),
        (126, [*range(0, 120, 10), 125]),
    ],
)
def test_layers_are_numbered_from_0_to_the_last(layers: int, expected: list[int]) -> None:
    svg = mask_svg(mask_of({"fr": [(layers - 1, 0)], "es": []}, shape=(layers, 4)))
    shown = texts(svg)
    assert shown[6 : shown.index("layer")] == [str(layer) for layer in expected]
    root = ElementTree.fromstring(svg)
    for one in root.iter(f"{SVG}rect"):
        assert float(one.get("x", 0)) + float(one.get("width")) <= float(root.get("width"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_label_is_text_in_the_picture(attack: str) -> None:
    svg = mask_svg(hostile(attack))
    tags = [one.tag.removeprefix(SVG) for one in ElementTree.fromstring(svg).iter()]
    assert set(tags) == {"svg", "title", "desc", "style", "rect", "text"}
    assert len(texts(svg)) == len(texts(mask_svg(hostile("tame"))))
    assert "\x00" not in svg
    assert "\u202e" not in svg

    class Reader(HTMLParser):  # as HTML too, for a page that inlines it
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert tag in {"svg", "title", "desc", "style", "rect", "text"}
            assert not any(name.startswith("on") for name, _ in attributes)

    Reader().feed(svg)


def test_a_mask_without_neurons_has_a_picture() -> None:
    svg = mask_svg(mask_of({"fr": []}))
    assert cells(svg) == []
    assert "0" in texts(svg)


def test_templates_ship_with_the_package() -> None:
    assert {path.name for path in Path(lape.sharing.__file__).parent.glob("*.md")} == {
        "citation.md",
        "collection_card.md",
        "mask_card.md",
    }
