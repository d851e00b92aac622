"""A worker of vLLM counts and switches what it should, whatever tokens share its passes; against a stand-in."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import vllm_standin as standin
from families import byte_tokenizer, gated_mask, lies_within, random_mask
from torch import nn
from transformers import PreTrainedTokenizerFast

from lape import ActivationStatistics, Intervention, LapeError, MaskMismatch, UnknownLabel, cli, load_engine, record
from lape.recording.beginnings import prefix_of
from lape.recording.blocks import token_blocks
from lape.recording.record import record_groups
from lape.serving.engine import Engine, plain
from lape.serving.passes import ServedPlan
from lape.serving.shards import whole_counts, whole_shape

CORPORA = {
    "xx": ["Ceci est un texte. " * 5, "Et un autre."] * 3,
    "yy": [f"{number} 这是一些文字" for number in range(20)],
}
BLOCK, BLOCKS, BATCH = 8, 5, 3
RECORD: dict[str, Any] = {"tokens": BLOCK * BLOCKS, "block": BLOCK, "batch": BATCH, "progress": False}
SHAPE = (standin.LAYERS, standin.WIDTH)
KINDS = {
    "gated": standin.FlatModel,
    "plain": partial(standin.FlatModel, nn.ReLU, gated=False),
    "shared": partial(standin.FlatModel, partial(lambda module: module, standin.SiluAndMul())),  # as Gemma in vLLM
}


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    standin.install(monkeypatch)


@pytest.fixture(params=[standin.Runner, standin.RunnerV2])
def runner(request: pytest.FixtureRequest) -> type[standin.Runner]:
    return request.param


@pytest.fixture(params=KINDS)
def llm(request: pytest.FixtureRequest, runner: type[standin.Runner]) -> standin.LLM:
    return standin.LLM(runner, KINDS[request.param]().requires_grad_(False))


def forward(
    model: Any, ids: list[int], intervention: Intervention | None, prompt: int
) -> tuple[list[torch.Tensor], int]:
    """The activations of one request's tokens, edited by hand, `[layer][token, neuron]`; and the token after them."""
    hidden = model.embed(torch.tensor(ids)) + 0.1 * torch.sin(torch.arange(len(ids)))[:, None]
    seen = []
    for number, layer in enumerate(model.layers):
        first = layer.mlp.gate_up_proj(hidden)
        gate, up = first.chunk(2, dim=-1) if first.shape[-1] > standin.WIDTH else (first, torch.ones(()))
        activation = nn.functional.silu(gate) if first.shape[-1] > standin.WIDTH else gate.relu()
        for name, flat, values, ranges in intervention.operations() if intervention else []:
            for index, (place, value) in enumerate(zip(flat.tolist(), values.tolist(), strict=True)):
                for token in range(len(ids)):
                    cell = activation[token, place % standin.WIDTH]
                    here = intervention.positions in ("all", "prompt" if token < prompt else "generated")
                    here = here and (ranges is None or lies_within(cell, ranges[:, :, index]))
                    if place // standin.WIDTH == number and here:
                        cell.copy_({"set": value, "add": cell + value, "scale": cell * value}[name])
        seen.append(activation)
        hidden = hidden + layer.mlp.down_proj(activation * up)
    return seen, int((hidden[-1] @ model.embed.weight.T).argmax())


@pytest.mark.parametrize("template", [None, "<|endoftext|> $A"])
def test_counts_equal_those_by_hand(llm: standin.LLM, template: str | None) -> None:
    """Blocks are read in pieces, several in a pass; BOS is read and not counted, and what is sampled is not either."""
    tokenizer = byte_tokenizer(template)
    before = prefix_of(tokenizer)
    assert len(before) == (template is not None)
    engine = Engine.of(llm)
    statistics, groups = record_groups(engine, tokenizer, CORPORA, groups=2, **RECORD)
    assert statistics.shape == engine.shape == SHAPE
    for code, documents in CORPORA.items():
        blocks = [block.tolist() for block in islice(token_blocks(tokenizer, documents, BLOCK), BLOCKS)]
        by_block = [forward(llm.worker.get_model(), [*before, *block], None, 0)[0] for block in blocks]
        counted = torch.stack([torch.stack(layers)[:, len(before) :] for layers in by_block])  # block, layer, token
        assert torch.equal(statistics.active[code], (counted > 0).sum((0, 2)))
        assert torch.equal(groups.active[code][1], (counted[1::2] > 0).sum((0, 2)).int())
        torch.testing.assert_close(statistics.sum[code], counted.double().sum((0, 2)), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(statistics.positive_sum[code], counted.double().relu().sum((0, 2)))
    assert statistics.metadata["model"] == "org/flat"
    assert statistics.metadata["library"]["vllm"] == "0.0"
    together = record(engine, tokenizer, CORPORA, **RECORD)
    assert all(torch.equal(together.active[code], statistics.active[code]) for code in CORPORA)


def test_a_block_that_is_read_twice_is_refused(
    runner: type[standin.Runner], tokenizer: PreTrainedTokenizerFast
) -> None:
    engine = Engine.of(standin.LLM(runner, standin.FlatModel(), preempting=True))
    with pytest.raises(LapeError, match=r"read 31 tokens of blocks instead of 24"):
        record(engine, tokenizer, CORPORA, **RECORD)


PLANS: dict[str, dict[str, Any]] = {
    "off": {"off": "aa"},
    "value": {"off": ["aa", "cc"], "off_value": -2.0, "positions": "generated"},
    "steered": {"off": "bb", "on": "aa", "strength": 3.0},
    "gated": {"off": ["aa", "bb"], "off_within": 0.5, "off_value": 4.0},
    "added": {"off": "cc", "on": "bb", "mode": "add", "strength": 4.0, "positions": "prompt"},
    "scaled": {"on": "cc", "mode": "scale", "strength": -3.0, "layers": range(1, 3)},
}


def test_requests_of_one_batch_are_steered_apart(llm: standin.LLM) -> None:
    """Each as it is alone, worked out by hand; those that name nothing are untouched."""
    mask = _mask()
    plans = {name: Intervention(mask, **plan) for name, plan in PLANS.items()}
    prompts = [[2 + (7 * row + place) % 200 for place in range(3 + row % 4)] for row in range(4)]
    rows = [(prompt, name) for prompt in prompts for name in (None, *PLANS)]
    asked = [standin.SamplingParams(max_tokens=4, extra_args={"lape": name} if name else None) for _, name in rows]
    inputs = [{"prompt_token_ids": prompt} for prompt, _ in rows]
    with Engine.of(llm).steering(plans):
        found = llm.generate(inputs, asked)
    expected = []
    for prompt, name in rows:
        ids = list(prompt)
        for _ in range(4):
            ids.append(forward(llm.worker.get_model(), ids, plans[name] if name else None, len(prompt))[1])
        expected.append(ids[len(prompt) :])
    assert found == expected
    untouched = expected[:: 1 + len(PLANS)]
    assert all(expected[1 + place :: 1 + len(PLANS)] != untouched for place in range(len(PLANS)))
    assert llm.generate(inputs, asked)[:: 1 + len(PLANS)] == llm.generate(inputs, asked)[1 :: 1 + len(PLANS)]


def _mask() -> Any:
    mask = gated_mask(random_mask(SHAPE))
    return replace(mask, means={**mask.means, "cc": torch.ones(mask.count("cc"))})


def test_a_name_that_is_not_there_is_told(llm: standin.LLM) -> None:
    inputs, engine = [{"prompt_token_ids": [3, 4, 5]}], Engine.of(llm)
    untouched = llm.generate(inputs, [standin.SamplingParams()])
    with (
        pytest.raises(UnknownLabel, match=r"No intervention 'of'\. Did you mean 'off'\?"),
        engine.steering({"off": Intervention(_mask(), off="aa")}),
    ):
        assert llm.generate(inputs, [standin.SamplingParams(extra_args={"lape": "of"})]) == untouched


def test_what_was_put_on_comes_off(llm: standin.LLM, tokenizer: PreTrainedTokenizerFast) -> None:
    worker, engine = llm.worker, Engine.of(llm)
    before = set(vars(worker.model_runner))

    def hooks() -> int:
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in worker.get_model().modules())

    assert hooks() == 0
    with engine.steering({"off": Intervention(_mask(), off="aa")}):
        hooked = hooks()
        assert hooked > standin.LAYERS
        record(engine, tokenizer, CORPORA, **RECORD)
        assert hooks() == hooked
    assert hooks() == 0
    assert set(vars(worker.model_runner)) == before


def test_a_mask_of_another_shape_is_refused(llm: standin.LLM) -> None:
    with (
        pytest.raises(MaskMismatch, match="org/flat has 3 layers"),
        Engine.of(llm).steering({"off": Intervention(random_mask((3, 48)), off="aa")}),
    ):
        pass


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"enforce_eager": False}, "CUDA graphs"),
        ({"enable_prefix_caching": True}, "prefix caching"),
        ({"speculative_config": object()}, "speculative decoding"),
        ({"extension": ""}, "without lape's workers"),
    ],
)
def test_an_engine_that_would_not_count_right_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(LapeError, match=said):
        Engine.of(standin.LLM(standin.Runner, standin.FlatModel(), **config))


class Bypassing(standin.FeedForward):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn.forward(self.gate_up_proj(hidden)))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.Identity()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda layers: setattr(layers[1].mlp, "act_fn", standin.MulAndSilu()), "does not multiply"),
        (lambda layers: setattr(layers[1], "mlp", Bypassing(standin.SiluAndMul(), True)), "bypassed"),
        (lambda layers: setattr(layers[2], "mlp", Experts()), "layer 2 has no activation module"),
        (lambda layers: setattr(layers[1], "mlp", standin.FeedForward(nn.ReLU(), False)), "different kinds"),
    ],
)
def test_a_model_that_cannot_be_watched_is_refused(change: Any, said: str) -> None:
    model = standin.FlatModel()
    change(model.layers)
    with pytest.raises(LapeError, match=said):
        Engine.of(standin.LLM(standin.Runner, model))


def shards_of(counts: torch.Tensor, tokens: int = 9) -> list[dict[str, Any]]:
    """What four workers would say: two stages of a pipeline, each of two halves."""
    layers, _, neurons = counts.shape
    return [
        {
            "layers": list(stage),
            "neurons": [half.start, half.stop],
            "tokens": tokens,
            "counts": counts[list(stage), :, half.start : half.stop].contiguous().numpy().tobytes(),
        }
        for stage in (range(1), range(1, layers))
        for half in (range(neurons // 2), range(neurons // 2, neurons))
    ]


def test_parts_of_workers_are_put_together_in_any_order() -> None:
    counts = torch.arange(3 * 4 * 6, dtype=torch.float64).view(3, 4, 6)
    shards = shards_of(counts)
    shape = whole_shape(shards)
    assert shape == (3, 6)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        assert torch.equal(whole_counts([shards[place] for place in order], shape, 9), counts)
    with pytest.raises(LapeError, match="every neuron of every layer once"):
        whole_shape([*shards, shards[0]])
    with pytest.raises(LapeError, match="every neuron of every layer once"):
        whole_shape(shards[1:])
    with pytest.raises(LapeError, match=r"read 7 tokens of blocks instead of 9"):
        whole_counts([*shards[:3], {**shards[3], "tokens": 7}], shape, 9)
    with pytest.raises(LapeError, match="because"):
        whole_shape([*shards, {"refused": "because"}])


def test_a_plan_is_divided_among_workers() -> None:
    """Layers 0 to 2 of six neurons each; the second half of them has neurons 3 to 5."""
    ranges = [[[-1.0, -2.0, -3.0, -4.0]], [[1.0, 2.0, 3.0, 4.0]]]
    operations = [
        {"name": "set", "neurons": [1, 4, 9, 17], "values": [1.0, 2.0, 3.0, 4.0], "ranges": ranges},
        {"name": "scale", "neurons": [11], "values": [5.0], "ranges": None},
    ]
    given = {"positions": "all", "operations": operations}
    parts = [ServedPlan.of(given, 6, here) for here in (range(0, 3), range(3, 6))]
    listed = [
        {
            layer: [(each.operation, each.columns.tolist(), each.values.tolist()) for each in cells]
            for layer, cells in part.layers.items()
        }
        for part in parts
    ]
    assert listed[0] == {0: [("set", [1], [1.0])]}
    assert listed[1] == {
        0: [("set", [1], [2.0])],
        1: [("set", [0], [3.0]), ("scale", [2], [5.0])],
        2: [("set", [2], [4.0])],
    }
    assert [cells.ranges for cells in parts[1].layers[1]][1] is None
    assert parts[1].layers[1][0].ranges.tolist() == [[[-3.0]], [[3.0]]]


def test_a_tensor_parallel_worker_says_which_neurons_it_has() -> None:
    worker = standin.LLM(standin.Runner, standin.FlatModel()).worker
    worker.rank, worker.parallel_config.tensor_parallel_size = 5, 2
    assert worker.lape_describe() == {"layers": [0, 1, 2], "neurons": [standin.WIDTH, 2 * standin.WIDTH]}


def test_a_stage_of_a_pipeline_has_its_layers() -> None:
    model = standin.FlatModel()
    model.layers[0] = nn.Identity()  # vLLM's place holder for a layer of another stage is one
    worker = standin.LLM(standin.Runner, model).worker
    assert worker.lape_describe()["layers"] == [1, 2]


def test_a_plan_is_what_json_can_say() -> None:
    intervention = Intervention(_mask(), **PLANS["steered"], off_within=1)
    assert json.loads(json.dumps(plain(intervention))) == plain(intervention)
    with pytest.raises(LapeError, match="names layers the model does not have"):
        plain(replace(intervention, layers=range(2, 4)))


def test_settings_that_lape_needs_are_not_changed() -> None:
    with pytest.raises(LapeError, match="lape needs enforce_eager=True of vLLM, not False"):
        load_engine("smollm2", enforce_eager=False)


def test_without_vllm_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(LapeError, match="vLLM is not installed"):
        load_engine("smollm2")


def test_the_command_records_with_it(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xx.txt").write_text("Ceci est un texte. " * 5, encoding="utf-8")
    loaded = Engine.of(standin.LLM(standin.RunnerV2, standin.FlatModel())), tokenizer
    monkeypatch.setattr("lape.serving.engine.load_engine", lambda *_, **__: loaded)
    words = ["record", "--engine", "vllm", "--corpus", str(tmp_path / "xx.txt"), "--block", "8", "--tokens", "40"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    recorded = ActivationStatistics.load(tmp_path / "out" / "statistics.safetensors")
    assert recorded.tokens == {"xx": 40}
    assert cli.main([*words, "--out", str(tmp_path / "other"), "--quantization", "4bit"]) == 2
    assert not (tmp_path / "other").exists()
