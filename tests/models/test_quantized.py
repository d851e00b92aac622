"""Interventions and recording on quantised models, and on models spread over memory and disk, do what they say.

Each is compared with the same edit made elsewhere in the same model without `lape`: before the second matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import oracle
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from families import FAMILIES, build, columns, layers_of, random_mask, token_ids
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

import lape
from lape import Intervention, NeuronMask, activation_sites, intervene, load_model
from lape.models.identity import identity
from lape.recording.backward import backward_passes

FAMILY_NAMES = ("llama", "gpt2", "bloom", "opt")
# On CPUs with AVX512-BF16, bitsandbytes has a kernel of its own that takes outputs in multiples of 32 only; on any
# CPU it misreads layers whose inputs are no multiple of 64. In the odd models some layers are of these sizes.
EVEN = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16, "ffn_dim": 128, "word_embed_proj_dim": 64}
SIZES = {
    "even": dict.fromkeys(FAMILY_NAMES, EVEN),
    "odd": {
        "llama": {**EVEN, "intermediate_size": 80},
        "opt": {**EVEN, "ffn_dim": 80},
        "gpt2": {"hidden_size": 96},
        "bloom": {"hidden_size": 96},
    },
}
FOUR_BIT = {  # layers that become 4-bit, in each of the model's layers
    "even": {"llama": 7, "opt": 6, "gpt2": 4, "bloom": 4},
    "odd": {"llama": 6, "opt": 5, "gpt2": 1, "bloom": 1},
}
DOCUMENTS = ["Un texte à compter, octet par octet."] * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Callable[[str, str], Path]:
    """Where a tiny model of a family lies, with its tokenizer."""
    made: dict[tuple[str, str], Path] = {}

    def find(name: str, size: str) -> Path:
        if (name, size) not in made:
            path = made[name, size] = tmp_path_factory.mktemp(f"{name}-{size}")
            build(name, **SIZES[size][name]).save_pretrained(path)
            tokenizer.save_pretrained(path)
        return made[name, size]

    return find


@pytest.fixture(params=FAMILY_NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def edits(plan: list[Intervention | None], layer: int) -> Iterator[tuple[int, list[int], Callable[..., torch.Tensor]]]:
    """By row: neurons of a layer and their new activation from the old one; on the plan's own terms, done slowly."""
    for row, entry in enumerate(plan):
        if entry is None:
            continue
        on = columns(entry.mask, entry.on, layer) if entry.on else []
        off = [neuron for code in entry.off for neuron in columns(entry.mask, code, layer) if neuron not in on]
        yield row, off, torch.zeros_like
        if entry.on and entry.mode == "scale":
            yield row, on, lambda old, by=entry.strength: old * by
        elif entry.on:
            means = mean_of(entry.mask, entry.on, layer) * entry.strength
            if entry.mode == "replace":
                yield row, on, lambda old, to=means: to.to(old).expand_as(old)
            else:
                yield row, on, lambda old, by=means: old + by.to(old)


def mean_of(mask: NeuronMask, code: str, layer: int) -> torch.Tensor:
    return torch.tensor(
        [mean for (at, _), mean in zip(mask.neurons[code].tolist(), mask.means[code], strict=True) if at == layer]
    )


@contextmanager
def by_hand(model: PreTrainedModel, plan: list[Intervention | None]) -> Iterator[None]:
    """Makes the edits of a plan where the second matrix reads, from what the first one gave."""
    table = FAMILIES[model.config.model_type]

    def keep(seen: dict[str, torch.Tensor], what: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: seen.__setitem__(what, output)

    def change(seen: dict[str, torch.Tensor], layer: int) -> Callable[..., torch.Tensor]:
        def changed(_module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
            given = inputs[0].clone().view(len(plan), -1, inputs[0].shape[-1])
            gated = "up" in seen  # what the second matrix reads is the activation alone, or times this
            activation = table.activation(seen["first"]).view_as(given) if gated else given.clone()
            factor = seen["up"].view_as(given) if gated else torch.ones_like(given)
            for row, neurons, new in edits(plan, layer):
                given[row, :, neurons] = new(activation[row, :, neurons]) * factor[row, :, neurons]
            return given.view_as(inputs[0])

        return changed

    with ExitStack() as stack:
        for layer, block in enumerate(layers_of(model)):
            seen: dict[str, torch.Tensor] = {}
            stack.callback(block.get_submodule(table.first).register_forward_hook(keep(seen, "first")).remove)
            if table.first == "mlp.gate_proj":
                stack.callback(block.mlp.up_proj.register_forward_hook(keep(seen, "up")).remove)
            stack.callback(block.get_submodule(table.down).register_forward_pre_hook(change(seen, layer)).remove)
        yield


def plan_for(model: PreTrainedModel) -> list[Intervention | None]:
    """One row of each kind."""
    mask = random_mask(activation_sites(model).shape)
    return [
        None,
        Intervention(mask, off="aa"),
        Intervention(mask, off=["aa", "cc"], on="bb"),
        Intervention(mask, on="bb", mode="add", strength=2.0),
        Intervention(mask, off="cc", on="aa", mode="scale", strength=3.0),
    ]


def generated(model: PreTrainedModel, ids: torch.Tensor, use_cache: bool = True) -> torch.Tensor:
    """Logits of the prompt's last position and of each new token but the last, `[step, row, token]`."""
    settings = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True, "use_cache": use_cache}
    settings |= {"attention_mask": torch.ones_like(ids), "min_new_tokens": 4, "max_new_tokens": 4}
    return torch.stack(model.generate(ids, **settings).logits)


def agree(matrix: nn.Module, weight: torch.Tensor) -> bool:
    """Whether a 4-bit matrix is a weight but for rounding, which leaves a correlation of 0.99 and more."""
    restored = dequantize_4bit(matrix.weight.data, matrix.weight.quant_state).float()
    if restored.shape != weight.shape:
        return False
    return bool(torch.corrcoef(torch.stack([restored.flatten(), weight.flatten()]))[0, 1] > 0.99)


@pytest.mark.parametrize("size", SIZES)
def test_4bit_interventions_equal_the_same_edits_by_hand(
    size: str, name: str, folder: Callable[[str, str], Path]
) -> None:
    model, _ = load_model(folder(name, size), quantization="4bit", device="cpu")
    assert identity(model).quantization == "4bit"
    plan, ids = plan_for(model), token_ids(1, 7).repeat(5, 1)
    untouched = model(ids).logits
    with intervene(model, plan):
        edited, new = model(ids).logits, generated(model, ids)
    with by_hand(model, plan):
        assert torch.equal(edited, model(ids).logits)
        assert torch.equal(new, generated(model, ids))
    assert torch.equal(edited[0], untouched[0])
    assert all((edited[row] - untouched[row]).abs().max() > 1e-2 for row in range(1, 5))
    assert torch.equal(model(ids).logits, untouched)


def test_8bit_interventions_equal_the_same_edits_by_hand(name: str, folder: Callable[[str, str], Path]) -> None:
    model, _ = load_model(folder(name, "even"), quantization="8bit", device="cpu")
    assert identity(model).quantization == "8bit"
    plan, ids = plan_for(model), token_ids(1, 7).repeat(5, 1)
    untouched = model(ids).logits
    with intervene(model, plan):
        edited = model(ids).logits
    with by_hand(model, plan):
        assert torch.equal(edited, model(ids).logits)
    # A row that is large somewhere makes bitsandbytes treat that column otherwise in all rows of the batch.
    change = [(edited[row] - untouched[row]).abs().mean() for row in range(5)]
    assert 0 < change[0] < 0.2 * min(change[1:])


@pytest.mark.parametrize("size", SIZES)
def test_4bit_recording_equals_counting_by_hand(size: str, name: str, folder: Callable[[str, str], Path]) -> None:
    model, tokenizer = load_model(folder(name, size), quantization="4bit", device="cpu")
    statistics = lape.record(model, tokenizer, {"xx": DOCUMENTS}, tokens=96, block=16, batch=2, progress=False)
    assert statistics.metadata["quantization"] == "4bit"
    oracle.assert_equal(statistics, "xx", oracle.record(model, tokenizer, DOCUMENTS, blocks_read=6, block=16, batch=2))


@pytest.mark.parametrize("size", SIZES)
def test_4bit_matrices_are_the_models_own(size: str, name: str, folder: Callable[[str, str], Path]) -> None:
    """GPT-2 stores its matrices transposed, square ones included."""
    whole = build(name, **SIZES[size][name])
    model, _ = load_model(folder(name, size), quantization="4bit", device="cpu")
    seen = 0
    for path, matrix in model.named_modules():
        if type(matrix).__name__ == "Linear4bit":
            original = whole.get_submodule(path)
            transposed = isinstance(original, Conv1D)
            assert agree(matrix, original.weight.T if transposed else original.weight)
            if transposed and matrix.in_features == matrix.out_features:
                assert not agree(matrix, original.weight)
            seen += 1
    assert seen == len(layers_of(model)) * FOUR_BIT[size][name]


@pytest.mark.parametrize("size", SIZES)
def test_4bit_products_are_those_of_the_matrices(size: str, name: str, folder: Callable[[str, str], Path]) -> None:
    model, _ = load_model(folder(name, size), quantization="4bit", device="cpu")
    for matrix in layers_of(model)[0].modules():
        if type(matrix).__name__ == "Linear4bit":
            weight = dequantize_4bit(matrix.weight.data, matrix.weight.quant_state).float()  # repacked at the first use
            inputs = torch.randn(3, matrix.in_features)
            expected = inputs @ weight.T + (0 if matrix.bias is None else matrix.bias)
            # The fast kernel computes in bfloat16, whatever is asked.
            torch.testing.assert_close(matrix(inputs), expected, rtol=0, atol=0.02 * expected.abs().max().item())


def test_relevance_goes_through_4bit_matrices(name: str, folder: Callable[[str, str], Path]) -> None:
    model, _ = load_model(folder(name, "even"), quantization="4bit", device="cpu")
    whole, ids = build(name, **SIZES["even"][name]), token_ids(2, 9)
    model(ids)  # packs the matrices for some CPUs, which rounds their scales
    with backward_passes(model, before=1) as read:
        for path, matrix in model.named_modules():
            if type(matrix).__name__ == "Linear4bit":
                weight = dequantize_4bit(matrix.weight.data, matrix.weight.quant_state).float()
                target = whole.get_submodule(path)
                target.weight.copy_(weight.T if isinstance(target, Conv1D) else weight)
        found = read(ids).relevance
    with backward_passes(whole, before=1) as read:
        torch.testing.assert_close(found, read(ids).relevance, rtol=1e-3, atol=1e-5)


def spread(model: PreTrainedModel) -> dict[str, str]:
    """A device map: the first layer and what is outside of the layers in memory, the other layers on disk."""
    layers = FAMILIES[model.config.model_type].layers
    placed: dict[str, str] = {}

    def place(module: nn.Module, path: str) -> None:
        for child_name, child in module.named_children():
            child_path = f"{path}{child_name}"
            if child_path == layers:
                placed.update({f"{layers}.{index}": "disk" if index else "cpu" for index in range(len(child))})
            elif layers.startswith(f"{child_path}."):
                place(child, f"{child_path}.")
            else:
                placed[child_path] = "cpu"

    place(model, "")
    return placed


@pytest.fixture
def offloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights that go to disk are written, when they are."""
    monkeypatch.setenv("LAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models" / "offload"


def test_a_model_spread_over_memory_and_disk_is_the_same_model(
    name: str, folder: Callable[[str, str], Path], offloaded: Path
) -> None:
    whole, tokenizer = load_model(folder(name, "odd"), device="cpu")
    model, _ = load_model(folder(name, "odd"), device_map=spread(whole))
    assert set(model.hf_device_map.values()) == {"cpu", "disk"}
    assert {parameter.device.type for parameter in layers_of(model)[1].parameters()} == {"meta"}
    assert not list(offloaded.rglob("*.safetensors"))  # they are read from the model's own files

    ids = token_ids(1, 7).repeat(5, 1)
    assert torch.equal(model(ids).logits, whole(ids).logits)
    with intervene(model, plan_for(model)), intervene(whole, plan_for(whole)):
        assert torch.equal(model(ids).logits, whole(ids).logits)
        assert torch.equal(generated(model, ids), generated(whole, ids))
        torch.testing.assert_close(generated(model, ids, use_cache=False), generated(model, ids))

    settings = {"tokens": 96, "block": 16, "batch": 2, "progress": False}
    mine, theirs = (lape.record(one, tokenizer, {"xx": DOCUMENTS}, **settings) for one in (model, whole))
    assert torch.equal(mine.active["xx"], theirs.active["xx"])
    assert torch.equal(mine.sum["xx"], theirs.sum["xx"])


def test_columns_side_by_side_on_a_spread_model(folder: Callable[[str, str], Path]) -> None:
    whole, tokenizer = load_model(folder("llama", "odd"), device="cpu")
    model, _ = load_model(folder("llama", "odd"), device_map=spread(whole))
    mask = random_mask(activation_sites(whole).shape)
    variants = {"on": None, "off": Intervention(mask, off="aa"), "steered": Intervention(mask, off="aa", on="bb")}
    texts = []
    for one in (model, whole):
        *_, last = lape.side_by_side(one, tokenizer, "Il était une fois", variants, max_new_tokens=12)
        texts.append(last.texts)
    assert texts[0] == texts[1]
    assert len(set(texts[0].values())) == 3


def test_weights_in_another_format_are_written_for_the_disk(
    folder: Callable[[str, str], Path], tmp_path: Path, offloaded: Path
) -> None:
    whole, tokenizer = load_model(folder("llama", "odd"), device="cpu")
    old = tmp_path / "old"
    whole.config.save_pretrained(old)
    tokenizer.save_pretrained(old)
    torch.save(whole.state_dict(), old / "pytorch_model.bin")
    model, _ = load_model(old, device_map=spread(whole))
    assert list(offloaded.rglob("*.safetensors"))
    assert torch.equal(model(token_ids(1, 7)).logits, whole(token_ids(1, 7)).logits)
