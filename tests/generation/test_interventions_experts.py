"""An expert's neurons are switched at the tokens routed to it, in the rows that are asked, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from families import LAYERS, byte_tokenizer, gated_mask, lies_within, token_ids
from mixtures import EXPERTS, MIXTURES, WIDTH, build_mixture, experts_of, in_plain_loops, mixture_mask
from transformers import PreTrainedModel

from lape import Intervention, MaskMismatch, NeuronMask, activation_sites, intervene, side_by_side
from lape.generation.interventions import Plan

IDS = token_ids(3, 7)
SHAPE = (LAYERS, EXPERTS * WIDTH)


def edited(model: PreTrainedModel, plan: Plan, ids: torch.Tensor = IDS) -> torch.Tensor:
    with intervene(model, plan):
        return model(ids).logits


def by_hand(model: PreTrainedModel, plan: Sequence[Intervention | None]) -> torch.Tensor:
    """The logits with one intervention (or None) per row, its values put into plain loops."""

    def change(layer: int, token: int, expert: int, activation: torch.Tensor) -> torch.Tensor:
        activation = activation.clone()
        one = plan[token // IDS.shape[1]]
        for operation in one.operations() if one else []:
            for number, (index, value) in enumerate(zip(*map(torch.Tensor.tolist, operation[1:3]), strict=True)):
                at, place = divmod(index, SHAPE[1])
                if at == layer and place // WIDTH == expert:
                    old = activation[place % WIDTH]
                    new = {"set": value, "add": old + value, "scale": old * value}[operation.name]
                    if operation.ranges is None or lies_within(old, operation.ranges[:, :, number]):
                        activation[place % WIDTH] = new
        return activation

    with in_plain_loops(model, change):
        return model(IDS).logits


def plan_of(name: str, mask: NeuronMask) -> list[Intervention | None]:
    return {
        "off": [Intervention(mask, off="aa")] * 3,
        "replace": [Intervention(mask, off=["aa", "cc"], off_within=0.5, on="bb", strength=2.0)] * 3,
        "rows": [
            None,
            Intervention(mask, off="aa", on="bb", mode="add", strength=1.5),
            Intervention(mask, off=["bb", "cc"], off_within=1, on="aa", mode="scale", strength=3.0),
        ],
    }[name]


@pytest.mark.parametrize("name", ["off", "replace", "rows"])
def test_edits_are_those_of_plain_loops(mixture: str, name: str) -> None:
    model = build_mixture(mixture)
    before = model(IDS).logits
    plan = plan_of(name, gated_mask(mixture_mask(SHAPE, MIXTURES[mixture].layers)))
    expected = by_hand(model, plan)
    torch.testing.assert_close(edited(model, plan), expected, atol=1e-3, rtol=1e-3)
    if name != "rows":
        torch.testing.assert_close(edited(model, plan[0]), expected, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(expected[-1], before[-1], atol=1e-2)
    assert torch.equal(model(IDS).logits, before)


def test_off_is_zeroed_columns_of_that_expert() -> None:
    model = build_mixture("qwen3_moe")
    mask = mixture_mask(SHAPE, MIXTURES["qwen3_moe"].layers)
    switched = edited(model, Intervention(mask, off="aa"))
    for layer, neuron in mask.neurons["aa"].tolist():
        experts_of(model)[layer].down_proj[neuron // WIDTH, :, neuron % WIDTH] = 0
    torch.testing.assert_close(switched, model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_an_untouched_row_is_that_row_of_the_same_batch() -> None:
    model = build_mixture("mixtral")
    mask = mixture_mask(SHAPE, MIXTURES["mixtral"].layers)
    off = Intervention(mask, off="aa")
    untouched = edited(model, [None, None, None])
    alone = edited(model, [off, None, off])
    torch.testing.assert_close(alone[1], untouched[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], untouched[0], atol=1e-2)
    torch.testing.assert_close(untouched, model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_prompt_and_generated_positions_are_told_apart() -> None:
    model = build_mixture("mixtral")
    mask = mixture_mask(SHAPE, MIXTURES["mixtral"].layers)
    settings = {"do_sample": False, "min_new_tokens": 2, "max_new_tokens": 2}
    settings |= {"return_dict_in_generate": True, "output_logits": True}
    plain = model.generate(IDS, **settings).logits
    with intervene(model, Intervention(mask, off="aa", positions="generated")):
        later = model.generate(IDS, **settings).logits
    torch.testing.assert_close(later[0], plain[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(later[1], plain[1], atol=1e-2)


def test_variants_are_rows_of_one_batch() -> None:
    model, tokenizer = build_mixture("qwen3_moe"), byte_tokenizer()
    mask = mixture_mask(SHAPE, MIXTURES["qwen3_moe"].layers)
    variants = {"on": None, "off": Intervention(mask, off="aa"), "same": None}
    *_, last = side_by_side(model, tokenizer, "Hello", variants, max_new_tokens=6)
    *_, alone = side_by_side(model, tokenizer, "Hello", {"on": None}, max_new_tokens=6)
    assert last.texts["on"] == last.texts["same"] == alone.texts["on"]
    assert model.config._experts_implementation == "grouped_mm"


def test_a_mask_of_another_number_of_experts_is_refused() -> None:
    model = build_mixture("mixtral")
    mask = mixture_mask(SHAPE, MIXTURES["mixtral"].layers)
    other = NeuronMask(mask.neurons, mask.means, SHAPE, {"experts": 2})
    with pytest.raises(MaskMismatch, match=r"2 experts x 40 neurons.*4 experts x 20 neurons"):
        other.check(model)
    assert activation_sites(model).experts == 4
