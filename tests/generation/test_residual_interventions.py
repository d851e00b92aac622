"""The residual stream is moved as plain loops say, in the rows and at the positions named, and nowhere else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from families import HIDDEN, LAYERS, WIDTH, build, byte_tokenizer, layers_of, random_mask, token_ids
from hooking import hooks
from torch import nn
from transformers import PreTrainedModel

from lape import (
    HookNotFired,
    Intervention,
    LapeError,
    LapeWarning,
    MaskMismatch,
    ResidualIntervention,
    ResidualMeans,
    UnknownLabel,
    intervene,
    side_by_side,
)
from lape.generation.interventions import Plan
from lape.generation.residual import RESIDUAL_METHODS
from lape.models.residual import residual_stream

IDS = token_ids(2, 9)
CODES = ("aa", "bb", "cc")


@cache
def random_means() -> ResidualMeans:
    """Of three languages, with a different number of tokens each; covariances of the first two layers."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tokens = {"aa": 10, "bb": 20, "cc": 40}
    sums = {code: count * draw(LAYERS, HIDDEN) for code, count in tokens.items()}
    norms = {code: count * (1 + draw(LAYERS).abs()) for code, count in tokens.items()}
    covariances = {layer: (root := draw(HIDDEN, HIDDEN)) @ root.T for layer in (0, 1)}
    return ResidualMeans(sums, norms, tokens, {}, covariances)


def moved(**settings: Any) -> ResidualIntervention:
    return ResidualIntervention(random_means(), **{"off": "aa", "on": "bb", "dimensions": 7, **settings})


def shifts(entry: ResidualIntervention) -> np.ndarray:
    """From the mean of what is off to what is on, `[layers, dimensions]`."""
    means = {code: (entry.means.sum[code] / entry.means.tokens[code]).numpy() for code in CODES}
    return means[entry.on] - sum(means[code] for code in entry.off or CODES) / len(entry.off or CODES)


def by_hand(entry: ResidualIntervention, layer: int, tokens: np.ndarray) -> np.ndarray:
    """Tokens of the stream after a layer `[token, dimension]`, one after the other."""
    shift = shifts(entry)
    edited = tokens.astype(np.float64).copy()
    for place, token in enumerate(tokens.astype(np.float64)):
        if entry.method == "dimensions":
            lengths = (entry.means.norm_sum[entry.on] / entry.means.tokens[entry.on]).tolist()
            target = (entry.means.sum[entry.on] / entry.means.tokens[entry.on])[-1].tolist()
            for dimension in sorted(range(HIDDEN), key=lambda at: -abs(shift[-1][at]))[: entry.dimensions]:
                edited[place, dimension] = entry.strength * target[dimension] * lengths[layer] / lengths[-1]
        elif entry.method == "lda":
            edited[place] = token + entry.strength * discriminant_part(entry.means, layer, shift[layer])
        elif entry.method == "diffmean":
            edited[place] = token + entry.strength * shift[layer]
        else:
            edited[place] = token + entry.strength / len(entry.edited_layers) * shift[layer]
            edited[place] *= np.sqrt(sum(token**2)) / np.sqrt(sum(edited[place] ** 2))
    return edited


def discriminant_part(means: ResidualMeans, layer: int, shift: np.ndarray) -> np.ndarray:
    """What of a shift lies in the space of the discriminants, the eigenvectors of inv(within) @ between."""
    of_language = {code: (means.sum[code][layer] / means.tokens[code]).numpy() for code in CODES}
    every = sum(means.tokens[code] * of_language[code] for code in CODES) / sum(means.tokens.values())
    within, between = means.covariances[layer].numpy(), np.zeros((HIDDEN, HIDDEN))
    for code in CODES:
        apart = of_language[code] - every
        between += means.tokens[code] / sum(means.tokens.values()) * np.outer(apart, apart)
    deviation = np.sqrt(np.diag(within + between))  # of all tokens
    scale = np.outer(deviation, deviation)
    values, vectors = np.linalg.eig(np.linalg.inv(within / scale) @ (between / scale))
    scalings = vectors[:, np.argsort(-values.real)[: len(CODES) - 1]].real
    return (shift / deviation) @ scalings @ np.linalg.pinv(scalings) * deviation


def logits(model: PreTrainedModel, plan: Plan, ids: torch.Tensor = IDS) -> torch.Tensor:
    with intervene(model, plan):
        return model(ids).logits


def logits_by_hand(model: PreTrainedModel, entries: list[ResidualIntervention | None]) -> torch.Tensor:
    """The same from hooks of torch, a row at a time."""

    def edit(layer: int, output: Any) -> Any:
        stream = (output if isinstance(output, torch.Tensor) else output[0]).clone()
        for row, entry in enumerate(entries):
            if entry is not None and layer in entry.edited_layers:
                stream[row] = torch.from_numpy(by_hand(entry, layer, stream[row].numpy()))
        return stream if isinstance(output, torch.Tensor) else (stream, *output[1:])

    added = [
        block.register_forward_hook(lambda _m, _i, output, layer=layer: edit(layer, output))
        for layer, block in enumerate(layers_of(model))
    ]
    found = model(IDS).logits
    for hook in added:
        hook.remove()
    return found


def test_every_method_does_what_plain_loops_say(family: str) -> None:
    model = build(family)
    before = model(IDS).logits
    for method in RESIDUAL_METHODS:
        entry = moved(method=method, strength=0.7)
        for plan in ([None, entry], [replace(entry, off=("aa", "cc")), replace(entry, off=())]):
            found = logits(model, plan)
            torch.testing.assert_close(found, logits_by_hand(model, plan), atol=1e-4, rtol=1e-4)
            assert (found[1] - before[1]).abs().max() > 1e-3
        assert torch.equal(logits(model, [None, entry])[0], before[0])
        torch.testing.assert_close(logits(model, entry), logits_by_hand(model, [entry, entry]), atol=1e-4, rtol=1e-4)
    assert torch.equal(model(IDS).logits, before)
    assert not hooks(model)


def test_where_a_method_edits() -> None:
    assert {name: moved(method=name).edited_layers for name in RESIDUAL_METHODS} == {
        "diffmean": range(2, 3),
        "dimensions": range(2, 3),
        "recover": range(3),
        "lda": range(1),
    }
    layers = {18: (range(11, 12), range(8, 9)), 32: (range(19, 20), range(15, 16)), 1: (range(1), range(1))}
    for count, expected in layers.items():
        assert tuple(RESIDUAL_METHODS[name].layers(count) for name in ("diffmean", "lda")) == expected
    assert moved().count == HIDDEN
    assert moved(method="dimensions").count == 7
    assert moved(method="recover").count == LAYERS * HIDDEN


def test_norms_are_restored(tiny_model: PreTrainedModel) -> None:
    seen: list[torch.Tensor] = []
    residual_stream(tiny_model)  # proven before anything is kept

    def keep() -> Any:
        hook = lambda _m, _i, stream: seen.append(stream.clone())  # noqa: E731
        return layers_of(tiny_model)[0].register_forward_hook(hook)

    keep()
    with intervene(tiny_model, moved(method="recover", strength=3.0, layers=range(1))):
        keep()
        tiny_model(IDS)
    raw, edited = seen
    torch.testing.assert_close(edited.norm(dim=-1), raw.norm(dim=-1))
    assert (torch.cosine_similarity(raw, edited, dim=-1) < 0.99).all()


def test_rows_of_all_kinds_share_a_batch(tiny_model: PreTrainedModel) -> None:
    neurons = Intervention(random_mask((LAYERS, WIDTH)), off="aa", on="bb")
    entries = [moved(), None, neurons, moved(method="recover", strength=0.5), moved(method="dimensions"), moved()]
    ids = token_ids(1, 9).expand(len(entries), -1)
    found, untouched = logits(tiny_model, entries, ids), tiny_model(ids).logits
    assert torch.equal(found[1], untouched[1])
    for row, entry in enumerate(entries):
        if entry is not None:
            torch.testing.assert_close(found[row], logits(tiny_model, entry, ids[:1])[0], atol=1e-5, rtol=1e-4)
            assert (found[row] - untouched[row]).abs().max() > 1e-2
    with intervene(tiny_model, neurons):  # blocks nest
        nested = logits(tiny_model, moved(), ids[:1])
    assert not torch.equal(nested[0], found[2])
    assert not hooks(tiny_model)


@pytest.mark.parametrize("method", RESIDUAL_METHODS)
def test_positions_are_those_of_the_prompt_or_after_it(tiny_model: PreTrainedModel, method: str) -> None:
    def two_passes(positions: str | None) -> tuple[torch.Tensor, torch.Tensor]:
        plan = [None, None if positions is None else moved(method=method, positions=positions, layers=range(1))]
        with intervene(tiny_model, plan):
            prompt = tiny_model(IDS[:, :6], use_cache=True)
            cache = prompt.past_key_values
            return prompt.logits[1], tiny_model(IDS[:, 6:7], past_key_values=cache, use_cache=True).logits[1]

    untouched, everywhere = two_passes(None), two_passes("all")
    prompt, generated = two_passes("prompt"), two_passes("generated")
    assert torch.equal(prompt[0], everywhere[0])
    assert not torch.equal(prompt[1], everywhere[1])  # it still reads what was moved
    assert not torch.equal(prompt[1], untouched[1])
    assert torch.equal(generated[0], untouched[0])
    assert not torch.equal(generated[1], untouched[1])
    with intervene(tiny_model, moved(positions="prompt")), pytest.raises(LapeError, match="pass use_cache=True"):
        tiny_model(IDS)


@pytest.mark.parametrize("method", ["diffmean", "recover", "lda"])
def test_strength_0_is_the_untouched_model(tiny_model: PreTrainedModel, method: str) -> None:
    entry = moved(method=method, strength=0.0)
    assert entry.count == 0
    with intervene(tiny_model, entry):
        assert not hooks(tiny_model)
        found = tiny_model(IDS).logits
    assert torch.equal(found, tiny_model(IDS).logits)


def test_a_block_follows_the_models_dtype(tiny_model: PreTrainedModel) -> None:
    for plan in (moved(method="recover"), [None, moved(method="dimensions")]):
        with intervene(tiny_model.float(), plan):
            tiny_model(IDS)
            found = tiny_model.bfloat16()(IDS).logits
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, logits(tiny_model, plan))
        assert not torch.equal(found, tiny_model(IDS).logits)


@pytest.mark.parametrize("name", ["llama", "mpt"])
def test_gradients_flow(name: str) -> None:
    model = build(name)
    embeds = model.get_input_embeddings()(IDS).requires_grad_()
    for method in RESIDUAL_METHODS:
        with intervene(model, [moved(method=method), None]):
            found = model(inputs_embeds=embeds).logits
        torch.testing.assert_close(found.detach(), logits(model, [moved(method=method), None]))
        (gradient,) = torch.autograd.grad(found.square().sum(), embeds)
        assert gradient.abs().sum() > 0


def test_text_is_generated_side_by_side(tiny_model: PreTrainedModel) -> None:
    variants = {"on": None, "moved": moved(strength=5.0), "neurons": Intervention(random_mask((3, 48)), off="aa")}
    *_, last = side_by_side(tiny_model, byte_tokenizer(), "hello", variants, max_new_tokens=8)
    *_, alone = side_by_side(tiny_model, byte_tokenizer(), "hello", {"moved": variants["moved"]}, max_new_tokens=8)
    assert last.texts["moved"] == alone.texts["moved"] != last.texts["on"]


def test_a_layer_that_is_passed_by_is_reported(tiny_model: PreTrainedModel) -> None:
    entry = moved(layers=range(1, 3))
    logits(tiny_model, entry)
    layers_of(tiny_model)[1] = nn.Sequential()  # after it was proven
    tiny_model.model.layers[1].forward = lambda hidden, **_: hidden
    with pytest.raises(HookNotFired, match=r"outputs of layers \[1\] did not pass"), intervene(tiny_model, entry):
        tiny_model(IDS)
    with pytest.warns(LapeWarning, match="did not run inside the block"), intervene(tiny_model, entry):
        pass


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"on": "dd"}, UnknownLabel, r"No language in these residual means 'dd'.*There are: aa, bb, cc"),
        ({"off": ["aa", "ab"]}, UnknownLabel, "No language in these residual means 'ab'"),
        (
            {"method": "difmean"},
            UnknownLabel,
            "No way of moving the residual stream 'difmean'. Did you mean 'diffmean'",
        ),
        ({"positions": "promt"}, UnknownLabel, "Did you mean 'prompt'"),
        ({"strength": float("nan")}, LapeError, "strength must be a finite number of float32, not nan"),
        ({"layers": range(2, 4)}, LapeError, "its layers are 0 to 2"),
        ({"method": "dimensions", "dimensions": 33}, LapeError, "dimensions must be from 1 to 32, not 33"),
        ({"method": "lda", "layers": range(1, 3)}, LapeError, r"no covariance of layers \[2\], which 'lda' needs"),
        ({"off": "bb"}, LapeError, "nothing to move from but 'bb' itself"),
    ],
)
def test_a_wrong_move_is_refused_with_the_way_out(
    settings: dict[str, Any], error: type[LapeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        moved(**settings)


def test_means_of_another_model_are_refused(tiny_model: PreTrainedModel) -> None:
    other = build("llama", num_hidden_layers=2)
    with pytest.raises(MaskMismatch, match=r"3 layers x 32 dimensions.*2 layers x 32"), intervene(other, moved()):
        pytest.fail("the block ran")
    with intervene(tiny_model, [moved()]), pytest.raises(LapeError, match="plan has 1 rows but the batch has 2"):
        tiny_model(IDS)
    with pytest.raises(FrozenInstanceError):
        moved().strength = 2.0
