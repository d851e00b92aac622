"""Sweeps of strengths, many prompts, and what texts cost the untouched model; on a tiny random model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from families import build
from torch.nn import functional

import lape
from lape import Intervention, LapeError, NeuronMask
from lape.evaluation.metrics.costs import text_costs
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.many import as_message, continue_many
from lape.evaluation.metrics.quality import Quality
from lape.evaluation.metrics.strengths import StrengthStep, StrengthSweep, at_strengths, sweep, target_share, windows

CELLS = torch.arange(96).split(32)
MASK = NeuronMask(
    {code: torch.stack([flat // 48, flat % 48], 1) for code, flat in zip(("fr", "es", "zh"), CELLS, strict=True)},
    {"es": torch.full((32,), 3.0)},
    (3, 48),
)
STEER = Intervention(MASK, off="fr", on="es")


def no_language(text: str) -> Identified:
    return Identified("es" if "o" in text else None, 1.0)


def spanish(text: str) -> Identified:
    return Identified("es" if "la casa" in text else "fr", 1.0)


# Costs


def test_a_cost_is_that_of_the_tokens_after_the_prompt(tokenizer: Any) -> None:
    model = build("llama")
    found = text_costs(model, tokenizer, ["Il était", "x", "Bonjour"], [" une fois", "", "é"])
    for prompt, text, cost in (("Il était", " une fois", found[0]), ("Bonjour", "é", found[2])):
        ids = torch.tensor([tokenizer(prompt + text, add_special_tokens=False)["input_ids"]])
        logits = model(ids).logits[0].double()
        count = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        wanted = functional.cross_entropy(logits[-count - 1 : -1], ids[0, -count:])
        assert cost == pytest.approx(float(wanted), abs=1e-5)
    assert found[1] is None


# Sweeps


def test_a_sweep_is_what_its_strengths_are_alone(tokenizer: Any) -> None:
    model = build("llama")
    settings = {"max_new_tokens": 12, "repetition_penalty": 1.2}
    found = sweep(model, tokenizer, "Bonjour", STEER, no_language, (0.0, 1.0, 3.5), **settings)
    assert [step.strength for step in found.steps] == [0, 1, 3.5]
    for step in found.steps:
        alone = replace(STEER, strength=step.strength)
        *_, last = lape.generate_rows(model, tokenizer, ["Bonjour"], alone, **settings)
        assert step.text == last.texts[0]
        if step.quality is not None:
            (cost,) = text_costs(model, tokenizer, ["Bonjour"], [step.text])
            assert step.quality.cost_nats == pytest.approx(cost, abs=1e-4)
    assert len({step.text for step in found.steps}) > 1
    assert found.values()["steps"][1]["new_tokens"] == 12


def test_the_range_suits_the_mode() -> None:
    for mode, ends in (("replace", (0, 0.25, 4)), ("add", (0, 0.25, 4)), ("scale", (1, 1.5, 9))):
        rows = list(at_strengths(replace(STEER, mode=mode)).values())
        assert (rows[0].strength, rows[1].strength, rows[-1].strength) == ends
        assert len(rows) == 17


@pytest.mark.parametrize(
    ("steer", "strengths", "said"),
    [
        (Intervention(MASK, off="fr"), None, "No language is switched on"),
        (STEER, (), "one or more rising"),
        (STEER, (1.0, 0.5), "one or more rising"),
        (STEER, (1.0, 1.0), "one or more rising"),
    ],
)
def test_a_sweep_of_nothing_is_refused(steer: Intervention, strengths: Any, said: str) -> None:
    with pytest.raises(LapeError, match=said):
        at_strengths(steer, strengths)


def steps(*told: str) -> StrengthSweep:
    """A sweep of steps that are `es`, `fr` or `es!`, which is broken."""
    made = []
    for place, each in enumerate(told):
        quality = Quality("broken" if each.endswith("!") else "fluent", (), 0.0, 1.0, 2.0)
        made.append(StrengthStep(place / 4, "", Identified(each.rstrip("!"), 1.0), None, quality, 1, None))
    return StrengthSweep("es", tuple(made))


@pytest.mark.parametrize(
    ("told", "flip", "breaks"),
    [
        (("fr", "es", "es", "es!"), 0.25, 0.75),
        (("fr", "es", "fr", "es", "es!", "es!"), 0.75, 1.0),  # once is chance
        (("fr", "fr", "es"), 0.5, None),
        (("fr", "es!", "es!"), None, 0.25),
        (("fr!", "es", "es"), 0.25, None),
        (("fr", "fr"), None, None),
    ],
)
def test_the_flip_stays_and_what_breaks_stays_broken(told: tuple[str, ...], flip: Any, breaks: Any) -> None:
    found = steps(*told)
    assert (found.flip, found.breaks) == (flip, breaks)


def test_the_share_of_the_target_is_that_of_windows() -> None:
    text = "x" * 60 + " la casa " + "y" * 51
    assert [len(window) for window in windows(text)] == [60, 60, 60, 60]
    assert target_share(text, "es", spanish) == 3 / 4  # those from column 20, 40 and 60 hold it
    assert target_share("la casa", "es-MX", spanish) == 1
    assert target_share("x", "es", lambda _: Identified(None)) is None
    assert target_share("x", "es", lambda _: Identified("es", 1.0, gibberish=True)) == 0
    assert [len(window) for window in windows("很" * 45)] == [30, 30, 30]


# Many prompts


def test_many_prompts_are_what_each_is_alone(tokenizer: Any) -> None:
    model = build("llama")
    variants = {"on": None, "steered": STEER}
    prompts = ["Bonjour", "Il était une fois", "Bonjour"]
    rows = continue_many(model, tokenizer, prompts, variants, no_language, max_new_tokens=6)
    assert [(row.prompt, row.variant) for row in rows] == [(prompt, name) for prompt in prompts for name in variants]
    for row in rows:
        *_, alone = lape.side_by_side(model, tokenizer, row.prompt, variants, max_new_tokens=6)
        assert row.text == alone.texts[row.variant]
        assert (row.new_tokens, row.finished) == (alone.new_tokens[row.variant], alone.finished[row.variant])
    assert as_message("Hallo", "on") == [{"role": "user", "content": "Hallo"}]
