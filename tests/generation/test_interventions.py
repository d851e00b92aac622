"""Neurons are switched as asked, at the activation and nowhere else, and the model is itself again afterwards."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload
from compiling import WAYS, compiled
from families import (
    EOS,
    FAMILIES,
    LAYERS,
    WIDTH,
    build,
    columns,
    gated_mask,
    layers_of,
    random_mask,
    token_ids,
    zero_inputs_of_down,
)
from hooking import hooks, watch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from lape import (
    HookNotFired,
    Intervention,
    LapeError,
    LapeWarning,
    MaskMismatch,
    MeansMissing,
    NeuronMask,
    UnknownLabel,
    activation_sites,
    intervene,
)
from lape.generation.edits import within
from lape.generation.interventions import Plan
from lape.models.embedded import SMOLLM2

MASK = random_mask((LAYERS, WIDTH))
OFF = Intervention(MASK, off="aa")
IDS = token_ids(2, 9)

# OPT's activations are [batch * position, neuron], everybody else's [batch, position, neuron].
both_layouts = pytest.mark.parametrize("name", ["llama", "opt"])


def edited_logits(model: PreTrainedModel, plan: Plan, ids: torch.Tensor = IDS) -> torch.Tensor:
    with intervene(model, plan):
        return model(ids).logits


def activations(model: PreTrainedModel, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations `[layer, batch, position, neuron]` of one pass over IDS, before and after their edit."""
    raw, edited = zip(*watch(model, plan, lambda: model(IDS)), strict=True)
    shape = (LAYERS, *IDS.shape, WIDTH)
    return torch.stack(raw).view(shape), torch.stack(edited).view(shape)


def generate(model: PreTrainedModel, plan: Plan | None, ids: torch.Tensor, **settings: Any) -> Any:
    """Six greedy tokens, with the logits of each."""
    with ExitStack() as stack:
        if plan is not None:
            stack.enter_context(intervene(model, plan))
        return model.generate(
            ids,
            do_sample=False,
            min_new_tokens=6,
            max_new_tokens=6,
            return_dict_in_generate=True,
            output_logits=True,
            **settings,
        )


def fail_inside(model: PreTrainedModel, plan: Plan) -> None:
    with intervene(model, plan):
        model(IDS)
        raise ZeroDivisionError


def test_off_is_zeroing_columns_of_the_down_projection(family: str) -> None:
    model = build(family)
    mask = random_mask((LAYERS, FAMILIES[family].width))
    before = model(IDS).logits
    off = edited_logits(model, Intervention(mask, off="aa"))
    assert torch.equal(model(IDS).logits, before)

    zero_inputs_of_down(model, mask, "aa")
    torch.testing.assert_close(off, model(IDS).logits, atol=1e-6, rtol=1e-6)
    assert (off - before).abs().max() > 1e-2


def test_the_key_value_cache_changes_nothing(family: str) -> None:
    model = build(family)
    mask = random_mask((LAYERS, FAMILIES[family].width))
    plan = Intervention(mask, off="aa", on="bb", strength=3.0)

    def run(use_cache: bool) -> tuple[Any, list[int]]:
        """The generation, and how many positions the last layer saw in each pass."""
        done = []
        seen = watch(model, plan, lambda: done.append(generate(model, None, IDS, use_cache=use_cache)))
        return done[0], [raw.numel() // (2 * FAMILIES[family].width) for raw, _ in seen][LAYERS - 1 :: LAYERS]

    cached, positions = run(use_cache=True)
    assert positions == [9, 1, 1, 1, 1, 1]
    full, positions = run(use_cache=False)
    assert positions == [9, 10, 11, 12, 13, 14]
    assert torch.equal(cached.sequences, full.sequences)
    torch.testing.assert_close(torch.stack(cached.logits), torch.stack(full.logits), atol=1e-4, rtol=1e-4)


def test_rows_of_a_left_padded_batch_are_edited_apart(family: str) -> None:
    model = build(family)
    mask = random_mask((LAYERS, FAMILIES[family].width))
    plan = [None, Intervention(mask, off="aa"), Intervention(mask, off="aa", on="bb", strength=3.0)]
    lengths = (7, 9, 4)
    prompts = [token_ids(1, length, seed=length) for length in lengths]
    ids = torch.cat([nn.functional.pad(prompt, (9 - prompt.shape[1], 0), value=EOS) for prompt in prompts])
    attended = torch.stack([torch.arange(9) >= 9 - length for length in lengths]).long()

    batch = generate(model, plan, ids, attention_mask=attended)
    untouched = generate(model, None, ids, attention_mask=attended)
    assert torch.equal(torch.stack(batch.logits)[:, 0], torch.stack(untouched.logits)[:, 0])
    for row, (prompt, entry) in enumerate(zip(prompts, plan, strict=True)):
        alone = generate(model, entry, prompt, attention_mask=torch.ones_like(prompt))
        assert torch.equal(batch.sequences[row, 9:], alone.sequences[0, prompt.shape[1] :])
        torch.testing.assert_close(
            torch.stack(batch.logits)[:, row], torch.stack(alone.logits)[:, 0], atol=1e-5, rtol=1e-4
        )
    assert len({tuple(row) for row in batch.sequences[:, 9:].tolist()}) == 3


@pytest.mark.parametrize("positions", ["prompt", "generated"])
def test_positions_are_those_of_the_prompt_or_after_it(family: str, positions: str) -> None:
    model = build(family)
    plan = Intervention(random_mask((LAYERS, FAMILIES[family].width)), off="aa", positions=positions)
    seen = watch(model, plan, lambda: generate(model, None, IDS, use_cache=True))
    changed = [not torch.equal(raw, edited) for raw, edited in seen]
    assert changed == [positions == "prompt"] * LAYERS + [positions == "generated"] * LAYERS * 5


@pytest.mark.parametrize("run", [lambda model: model(IDS), lambda model: generate(model, None, IDS, use_cache=False)])
def test_positions_without_a_cache_are_refused(tiny_model: PreTrainedModel, run: Callable) -> None:
    with (
        intervene(tiny_model, replace(OFF, positions="prompt")),
        pytest.raises(LapeError, match="pass use_cache=True"),
    ):
        run(tiny_model)


def test_a_pass_that_begins_a_cache_is_of_the_prompt(tiny_model: PreTrainedModel) -> None:
    with intervene(tiny_model, replace(OFF, positions="prompt")):
        found = tiny_model(IDS, use_cache=True).logits
    assert torch.equal(found, edited_logits(tiny_model, OFF))


@both_layouts
@pytest.mark.parametrize("rows", [None, 1])
@pytest.mark.parametrize("mode", ["replace", "add", "scale"])
@pytest.mark.parametrize("off_mode", ["set", "scale"])
def test_values_at_the_activation(name: str, off_mode: str, mode: str, rows: int | None) -> None:
    plan = Intervention(MASK, off="aa", on="bb", mode=mode, strength=1.7, off_mode=off_mode, off_value=-0.25)
    raw, edited = activations(build(name), plan if rows is None else [None, plan])

    expected = raw.clone()
    rows_edited = slice(rows, None)
    for layer, neuron in MASK.neurons["aa"].tolist():
        if [layer, neuron] not in MASK.neurons["bb"].tolist():  # what both have stays the target's
            cell = expected[layer, rows_edited, :, neuron]
            cell[:] = -0.25 if off_mode == "set" else -0.25 * cell
    for (layer, neuron), mean in zip(MASK.neurons["bb"].tolist(), MASK.means["bb"], strict=True):
        cell = expected[layer, rows_edited, :, neuron]
        if mode == "replace":
            cell[:] = 1.7 * mean
        elif mode == "add":
            cell += 1.7 * mean
        else:
            cell *= 1.7
    assert torch.equal(edited, expected)
    assert not torch.equal(edited, raw)


@pytest.mark.parametrize("rows", [None, 1])
def test_off_within_leaves_activations_alone_that_are_not_the_languages(family: str, rows: int | None) -> None:
    width = FAMILIES[family].width
    mask = gated_mask(random_mask((LAYERS, width)))
    plan = Intervention(mask, off=["aa", "bb"], off_within=0.75, off_value=-0.25)
    seen = watch(model := build(family), plan if rows is None else [None, plan], lambda: model(IDS))
    raw, edited = (torch.stack(tensors).view(LAYERS, *IDS.shape, width) for tensors in zip(*seen, strict=True))
    expected, inside = raw.clone(), 0
    for code in plan.off:
        numbers = zip(mask.neurons[code].tolist(), mask.own_means[code], mask.deviations[code], strict=True)
        for (layer, neuron), mean, deviation in numbers:
            for row in range(rows or 0, 2):
                for place, value in enumerate(raw[layer, row, :, neuron]):
                    if mean - 0.75 * deviation <= value <= mean + 0.75 * deviation:
                        expected[layer, row, place, neuron] = -0.25
                        inside += 1
    assert torch.equal(edited, expected)
    assert 0 < inside < 0.9 * 9 * (2 - (rows or 0)) * plan.count


def test_ranges_are_not_rounded_to_the_activation() -> None:
    activation = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    ranges = torch.tensor([[[0.0], [2.001]], [[0.999], [3.0]]])  # bfloat16 has nothing between 0.996 and 1
    assert within(activation, ranges).tolist() == [False, False, True]


def test_neurons_of_both_languages_stay_the_targets() -> None:
    plan = Intervention(MASK, off=["aa", "cc"], on="bb")
    on = set(MASK.flat("bb").tolist())
    assert set(MASK.flat("aa").tolist()) & on
    assert set(plan.on_neurons.tolist()) == on
    assert set(plan.off_neurons.tolist()) == {*MASK.flat("aa").tolist(), *MASK.flat("cc").tolist()} - on
    assert plan.count == len(plan.off_neurons) + len(on)


@both_layouts
@pytest.mark.parametrize(("mode", "strength"), [("add", 0.0), ("scale", 1.0)])
def test_neutral_strength_is_the_untouched_model(name: str, mode: str, strength: float) -> None:
    model = build(name)
    plan = Intervention(MASK, off="aa", off_mode="scale", off_value=1, on="bb", mode=mode, strength=strength)
    assert torch.equal(edited_logits(model, plan), model(IDS).logits)
    with intervene(model, plan):
        assert not hooks(model)  # nothing to do costs nothing
    assert not torch.equal(edited_logits(model, replace(plan, strength=0.5)), model(IDS).logits)


def test_only_the_named_layers_are_edited(tiny_model: PreTrainedModel) -> None:
    plan = replace(OFF, on="bb", layers=range(1, 2))
    raw, edited = activations(tiny_model, plan)
    assert [torch.equal(*pair) for pair in zip(raw, edited, strict=True)] == [True, False, True]
    assert plan.count < replace(plan, layers=None).count


@pytest.mark.parametrize("layers", [range(2, 4), range(-1, 1)])
def test_layers_the_model_does_not_have_are_refused(tiny_model: PreTrainedModel, layers: range) -> None:
    with pytest.raises(LapeError, match="its layers are 0 to 2"), intervene(tiny_model, replace(OFF, layers=layers)):
        pytest.fail("the block ran")


@pytest.mark.parametrize(
    ("ids", "settings", "rows"),
    [
        (IDS, {}, 2),
        (IDS[:1], {"num_beams": 3}, 3),
        (IDS[:1], {"do_sample": True, "num_return_sequences": 4}, 4),
    ],
)
def test_a_row_plan_refuses_another_number_of_rows(
    tiny_model: PreTrainedModel, ids: torch.Tensor, settings: dict[str, Any], rows: int
) -> None:
    with (
        intervene(tiny_model, [OFF] if rows > 2 else [OFF] * 3),
        pytest.raises(LapeError, match=rf"plan has {1 if rows > 2 else 3} rows but the batch has {rows}\b"),
    ):
        tiny_model.generate(ids, max_new_tokens=2, **settings)


@pytest.mark.parametrize("rows", [1, 3])
def test_so_does_a_plan_that_leaves_all_rows_untouched(tiny_model: PreTrainedModel, rows: int) -> None:
    message = rf"plan has {rows} rows but the batch has 2\b"
    with intervene(tiny_model, [None] * rows), pytest.raises(LapeError, match=message):
        tiny_model(IDS)
    assert not hooks(tiny_model)


def test_one_intervention_takes_beams(tiny_model: PreTrainedModel) -> None:
    with intervene(tiny_model, OFF):
        assert tiny_model.generate(IDS, num_beams=2, max_new_tokens=2).shape == (2, 11)


def test_an_empty_plan_is_refused_and_an_untouched_one_is_none(tiny_model: PreTrainedModel) -> None:
    with pytest.raises(LapeError, match="no rows"), intervene(tiny_model, []):
        pytest.fail("the block ran")
    assert torch.equal(edited_logits(tiny_model, [None, None]), tiny_model(IDS).logits)


@pytest.mark.parametrize("plan", [OFF, [None, replace(OFF, on="bb")]], ids=["all", "rows"])
def test_a_block_follows_the_models_dtype(tiny_model: PreTrainedModel, plan: Plan) -> None:
    with intervene(tiny_model, plan):
        tiny_model(IDS)
        found = tiny_model.to(torch.bfloat16)(IDS).logits
    with intervene(tiny_model, plan):
        expected = tiny_model(IDS).logits
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert not torch.equal(found, tiny_model(IDS).logits)


def test_a_bypassed_activation_is_reported(tiny_model: PreTrainedModel) -> None:
    activation_sites(tiny_model)

    def fused(mlp: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        return mlp.down_proj(nn.functional.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden))

    mlp = layers_of(tiny_model)[1].mlp
    mlp.forward = MethodType(fused, mlp)
    with pytest.raises(HookNotFired, match=r"layers \[1\]"), intervene(tiny_model, OFF):
        tiny_model(IDS)
    with pytest.raises(ZeroDivisionError):  # the block's own error comes first
        fail_inside(tiny_model, OFF)
    with intervene(tiny_model, replace(OFF, layers=range(1))):  # the bypassed layer is not edited
        tiny_model(IDS)
    with pytest.warns(LapeWarning, match="did not run inside the block"), intervene(tiny_model, OFF):
        pass
    with intervene(tiny_model, replace(OFF, off=())):  # nothing to switch
        pass


def test_only_own_hooks_are_removed(tiny_model: PreTrainedModel) -> None:
    module = activation_sites(tiny_model).modules[0]
    module.register_forward_hook(lambda *_: None)
    before = hooks(tiny_model)
    plan = [OFF, None]
    with pytest.raises(ZeroDivisionError):
        fail_inside(tiny_model, plan)
    assert hooks(tiny_model) == before
    with intervene(tiny_model, plan):
        assert len(hooks(tiny_model)) == len(before) + LAYERS + 1  # each layer's, and the decoder's
        module.register_forward_hook(lambda *_: None)
        tiny_model(IDS)
    assert len(hooks(tiny_model)) == len(before) + 1


@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_is_switched_and_is_itself_again(tiny_model: PreTrainedModel, way: str) -> None:
    """Compiled code skips hooks that came after it: nothing was switched, without a word."""
    untouched, switched = tiny_model(IDS).logits, edited_logits(tiny_model, OFF)
    run = WAYS[way](tiny_model)
    torch.testing.assert_close(run(IDS), untouched)
    with intervene(tiny_model, OFF):
        assert torch.equal(run(IDS), switched)
    torch.testing.assert_close(run(IDS), untouched)
    with intervene(tiny_model, [None, OFF]):  # another plan after it
        both = run(IDS)
    assert torch.equal(both[0], untouched[0])
    torch.testing.assert_close(both[1], switched[1])
    torch._dynamo.reset()


def test_the_compiled_wrapper_may_be_passed(tiny_model: PreTrainedModel) -> None:
    switched = edited_logits(tiny_model, OFF)
    wrapper = compiled(tiny_model)
    wrapper(IDS)
    assert torch.equal(edited_logits(wrapper, OFF), switched)
    torch._dynamo.reset()


def test_a_program_made_of_the_model_is_not_passed_over_in_silence(tiny_model: PreTrainedModel) -> None:
    program = torch.export.export(tiny_model, (IDS,), {"use_cache": False}).module()
    with pytest.warns(LapeWarning, match=r"nothing was switched.*torch.export"), intervene(tiny_model, OFF):
        program(IDS, use_cache=False)


def test_a_copy_made_in_the_block_is_not_switched(tiny_model: PreTrainedModel) -> None:
    """It kept the hooks, and nobody took them off."""
    untouched = tiny_model(IDS).logits
    for plan in (OFF, [OFF, None]):
        with intervene(tiny_model, plan):
            copied = copy.deepcopy(tiny_model)
            assert torch.equal(copied(IDS).logits, untouched)
            assert not torch.equal(tiny_model(IDS).logits, untouched)
        assert torch.equal(copied(IDS[:1]).logits, tiny_model(IDS[:1]).logits)
    assert torch.equal(edited_logits(copied, OFF), edited_logits(tiny_model, OFF))


def test_blocks_nest(tiny_model: PreTrainedModel) -> None:
    inner = Intervention(MASK, off="cc")
    with intervene(tiny_model, OFF):
        outer_alone = tiny_model(IDS).logits
        with intervene(tiny_model, inner):
            nested = tiny_model(IDS).logits
        assert torch.equal(tiny_model(IDS).logits, outer_alone)
    assert torch.equal(nested, edited_logits(tiny_model, Intervention(MASK, off=["aa", "cc"])))
    assert not torch.equal(nested, outer_alone)


def test_nested_blocks_deactivate_first_what_both_languages_have(tiny_model: PreTrainedModel) -> None:
    on = Intervention(MASK, on="bb", mode="add", strength=2.0)
    expected = activations(tiny_model, replace(on, off="aa"))[1]
    with intervene(tiny_model, OFF):
        found = activations(tiny_model, on)[1]
    own = MASK.neurons["aa"].tolist()
    changed = [
        (layer, neuron, 2.0 * mean)
        for (layer, neuron), mean in zip(MASK.neurons["bb"].tolist(), MASK.means["bb"], strict=True)
        if [layer, neuron] in own
    ]
    assert changed
    for layer, neuron, value in changed:
        assert found[layer, :, :, neuron].eq(value).all()  # 0 and then the mean, not the activation and the mean
        assert not expected[layer, :, :, neuron].eq(value).any()


@both_layouts
def test_gradients_flow_except_through_what_is_set(name: str) -> None:
    model = build(name)
    embeds = model.get_input_embeddings()(IDS).requires_grad_()
    raw: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        output.retain_grad()
        raw.append(output)

    for module in activation_sites(model).modules:
        module.register_forward_hook(keep)
    with intervene(model, OFF):
        logits = model(inputs_embeds=embeds).logits
    assert torch.equal(logits, edited_logits(build(name), OFF))
    logits[:, -1].square().sum().backward()
    assert embeds.grad.abs().sum() > 0
    for layer, activation in enumerate(raw):
        by_neuron = activation.grad.flatten(0, -2).abs().sum(0)
        assert by_neuron[columns(MASK, "aa", layer)].eq(0).all()
        assert by_neuron.gt(0).sum() > WIDTH / 4


def test_a_mask_of_another_model_is_refused_or_reported(tiny_model: PreTrainedModel) -> None:
    with (
        pytest.raises(MaskMismatch, match=r"2 layers x 40 neurons.*3 layers x 48 neurons"),
        intervene(tiny_model, [None, Intervention(random_mask((2, 40)), off="aa")]),
    ):
        pytest.fail("the block ran")
    assert not hooks(tiny_model)
    with (
        pytest.raises(MaskMismatch, match=r"2 layers x 40 neurons.*3 layers x 48 neurons"),
        intervene(tiny_model, [Intervention(random_mask((2, 40)), off="aa"), OFF]),
    ):
        pytest.fail("the block ran")
    tiny_model.name_or_path = "org/this"
    other = NeuronMask(MASK.neurons, MASK.means, MASK.shape, {"model": "org/that"})
    with pytest.warns(LapeWarning, match="org/that, not org/this"):
        edited = edited_logits(tiny_model, replace(OFF, mask=other))
    assert not torch.equal(edited, tiny_model(IDS).logits)


@pytest.mark.parametrize(
    ("name", "made_for", "loaded", "warns"),
    [
        ("org/this", "abc", "def", True),
        ("org/this", "abc", None, True),
        ("org/this", "abc", "abc", False),
        ("org/this", None, "def", False),
        (SMOLLM2.model, "abc", "gguf-q4_1:def", True),
        (SMOLLM2.model, "abc", "abc", False),
    ],
)
def test_a_mask_of_another_revision_is_reported(
    tiny_model: PreTrainedModel, name: str, made_for: str | None, loaded: str | None, warns: bool
) -> None:
    tiny_model.name_or_path, tiny_model.config._commit_hash = name, loaded
    mask = replace(MASK, metadata={"model": name, "revision": made_for})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mask.check(tiny_model)
    rounded = " One of them may be rounded: the neurons are nearly the same, and figures differ a little."
    said = f"The mask was made for revision abc of {name}, not {loaded}.{rounded if name == SMOLLM2.model else ''}"
    assert [str(warning.message) for warning in caught] == ([said] if warns else [])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"off": "ab"}, UnknownLabel, "No language in the mask 'ab'. Did you mean '(aa|bb)'"),
        ({"off": ["aa", "zz"]}, UnknownLabel, "No language in the mask 'zz'"),
        ({"on": "dd"}, UnknownLabel, "There are: aa, bb, cc"),
        ({"on": "bb", "mode": "replce"}, UnknownLabel, "Did you mean 'replace'"),
        ({"on": "bb", "positions": "promt"}, UnknownLabel, "Did you mean 'prompt'"),
        ({"on": "bb", "strength": float("nan")}, LapeError, "strength must be a finite number"),
        ({"off": "aa", "off_value": float("inf")}, LapeError, "off_value must be a finite number"),
        ({"on": "bb", "strength": 1e39}, LapeError, r"strength must be a finite number of float32, not 1e\+39"),
        ({"off": "aa", "off_value": -1e300}, LapeError, "off_value must be a finite number"),
        ({"off": "aa", "off_mode": "scal"}, UnknownLabel, "No off_mode 'scal'. Did you mean 'scale'"),
        ({"off": "aa", "off_mode": "scale", "off_value": "mean"}, LapeError, "must then be a number, not 'mean'"),
        ({"off": "aa", "off_within": -1}, LapeError, "off_within must be at least 0 deviations, not -1"),
        ({"off": "aa", "off_within": float("nan")}, LapeError, "off_within must be a finite number"),
        ({"off": ["aa", "cc"], "off_within": 2}, MeansMissing, "no deviations for aa, cc.*with_deviations"),
        ({"on": "cc"}, MeansMissing, "no mean activations for 'cc'.*lape calibrate"),
        ({"on": "cc", "mode": "add"}, MeansMissing, "'add' cannot switch it on"),
    ],
)
def test_a_wrong_intervention_is_refused_with_the_way_out(
    settings: dict[str, Any], error: type[LapeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Intervention(MASK, **settings)


def test_scale_and_off_need_no_means() -> None:
    assert Intervention(MASK, off="aa", on="cc", mode="scale").count == 3 * (8 + 4)


def test_an_intervention_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        OFF.strength = 2.0


def _layer_map(folder: Path, offload: Path) -> PreTrainedModel:
    parts = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "cpu", "model.layers.2": "disk"}
    parts |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    return AutoModelForCausalLM.from_pretrained(folder, device_map=parts, offload_folder=offload)


@pytest.mark.parametrize(
    "load",
    [
        _layer_map,
        lambda folder, _: cpu_offload(AutoModelForCausalLM.from_pretrained(folder), torch.device("cpu")),
        lambda folder, offload: disk_offload(
            AutoModelForCausalLM.from_pretrained(folder), offload, torch.device("cpu")
        ),
    ],
    ids=["device_map", "cpu_offload", "disk_offload"],
)
def test_dispatched_models(tiny_folder: Path, tmp_path: Path, load: Callable[[Path, Path], PreTrainedModel]) -> None:
    whole = AutoModelForCausalLM.from_pretrained(tiny_folder)
    dispatched = load(tiny_folder, tmp_path)
    assert any(parameter.is_meta for parameter in dispatched.parameters())  # it is indeed elsewhere
    plan = Intervention(random_mask(activation_sites(whole).shape), off="aa", on="bb")
    torch.testing.assert_close(edited_logits(dispatched, plan), edited_logits(whole, plan))
    assert torch.equal(dispatched(IDS).logits, dispatched(IDS).logits)
    torch.testing.assert_close(dispatched(IDS).logits, whole(IDS).logits)
