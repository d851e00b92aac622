"""Any plan does what plain loops say, to the neurons it names and to nothing else, and leaves no trace."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from drawing import CODES, masks
from families import LAYERS, WIDTH, build, gated_mask, token_ids
from hooking import hooks, watch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from lape import Intervention, intervene
from lape.generation.interventions import Plan

SHAPE = (LAYERS, WIDTH)
ROWS, PROMPT = 2, 5
IDS = token_ids(ROWS, PROMPT + 1)


@st.composite
def interventions(draw: Any) -> Intervention:
    mask = gated_mask(draw(masks(CODES[:3], SHAPE)))
    off = draw(st.lists(st.sampled_from(mask.languages), unique=True))
    on = draw(st.none() | st.sampled_from(mask.languages))
    modes = ["replace", "add", "scale"] if on in mask.means else ["scale"]
    return Intervention(
        mask,
        off=off,
        on=on,
        mode=draw(st.sampled_from(modes)),
        strength=draw(st.sampled_from([0.0, 1.0]) | st.floats(-8, 8, width=32)),
        off_value=draw(st.sampled_from([0.0, 1.0]) | st.floats(-3, 3, width=32)),
        off_mode=draw(st.sampled_from(["set", "scale"])),
        off_within=draw(st.none() | st.sampled_from([0.0, 0.5, 2.0])),
        layers=draw(st.none() | st.sampled_from([range(0), range(1), range(1, 3), range(0, 3, 2), range(2, -1, -1)])),
        positions=draw(st.sampled_from(["all", "prompt", "generated"])),
    )


plans = interventions() | st.lists(st.none() | interventions(), min_size=ROWS, max_size=ROWS)


@cache
def model_of(family: str) -> PreTrainedModel:
    return build(family)


def two_passes(model: PreTrainedModel) -> torch.Tensor:
    """The logits of a prompt, and of one more token after it."""
    prompt = model(IDS[:, :PROMPT], use_cache=True)
    more = model(IDS[:, PROMPT:], past_key_values=prompt.past_key_values, use_cache=True)
    return torch.cat([prompt.logits, more.logits], dim=1)


def by_hand(raw: torch.Tensor, entry: Intervention, layer: int, pass_: str) -> torch.Tensor:
    """The activation of one row `[position, neuron]` after an intervention."""
    edited = raw.clone()
    if entry.positions not in ("all", pass_) or (entry.layers is not None and layer not in entry.layers):
        return edited
    here = {
        code: {neuron: place for place, (at, neuron) in enumerate(pairs.tolist()) if at == layer}
        for code, pairs in entry.mask.neurons.items()
    }
    on = here[entry.on] if entry.on is not None else {}
    for code in entry.off:
        for neuron, place in here[code].items():
            if neuron not in on:
                mean, deviation = entry.mask.own_means[code][place], entry.mask.deviations[code][place]
                for position, value in enumerate(raw[:, neuron]):
                    reach = float("inf") if entry.off_within is None else entry.off_within * deviation
                    if mean - reach <= value <= mean + reach:
                        factor = value if entry.off_mode == "scale" else 1
                        edited[position, neuron] = factor * entry.off_value
    for neuron, place in on.items():
        if entry.mode == "scale":
            edited[:, neuron] *= entry.strength
        else:
            value = entry.strength * entry.mask.means[entry.on][place]
            edited[:, neuron] = value if entry.mode == "replace" else edited[:, neuron] + value
    return edited


@pytest.mark.parametrize("family", ["llama", "opt"])  # OPT's activations are [batch * position, neuron]
@settings(max_examples=60)
@given(plan=plans)
def test_a_plan_does_what_plain_loops_say_and_leaves_no_trace(family: str, plan: Plan) -> None:
    model = model_of(family)
    before = two_passes(model)
    seen = watch(model, plan, lambda: two_passes(model))
    assert len(seen) == 2 * LAYERS
    for place, (raw, edited) in enumerate(seen):
        layer, pass_ = place % LAYERS, "prompt" if place < LAYERS else "generated"
        for row, entry in enumerate([plan] * ROWS if isinstance(plan, Intervention) else plan):
            mine, theirs = (tensor.view(ROWS, -1, WIDTH)[row] for tensor in (raw, edited))
            expected = mine if entry is None else by_hand(mine, entry, layer, pass_)
            assert torch.equal(theirs, expected)
    assert not hooks(model)
    assert torch.equal(two_passes(model), before)


@settings(max_examples=60)
@given(interventions())
def test_an_untouched_row_beside_any_other_is_that_of_the_untouched_model(entry: Intervention) -> None:
    model = model_of("llama")
    untouched = two_passes(model)
    with intervene(model, [entry, None]):
        edited = two_passes(model)
    assert torch.equal(edited[1], untouched[1])
    if entry.count == 0:
        assert torch.equal(edited, untouched)
