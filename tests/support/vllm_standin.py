"""What lape uses of vLLM, without vLLM: a worker, both kinds of model runner, a scheduler, and a model of FFNs alone.

Without attention a token's activations depend on that token only, so that what a pass should do is easily worked out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lape.serving.engine import ENGINE_SETTINGS
from lape.serving.worker import WorkerExtension

LAYERS, HIDDEN, WIDTH, VOCABULARY = 3, 16, 24, 258


class SiluAndMul(nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        gate, up = given.chunk(2, dim=-1)
        return F.silu(gate) * up


class MulAndSilu(nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        up, gate = given.chunk(2, dim=-1)
        return F.silu(gate) * up


class FeedForward(nn.Module):
    def __init__(self, act_fn: nn.Module, gated: bool) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(HIDDEN, WIDTH * (1 + gated))
        self.act_fn = act_fn
        self.down_proj = nn.Linear(WIDTH, HIDDEN)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_up_proj(hidden)))


class Layer(nn.Module):
    def __init__(self, mlp: FeedForward) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.mlp(hidden)


class FlatModel(nn.Module):
    """Takes the tokens of all requests in a row, as the models of vLLM do."""

    def __init__(self, act: Callable[[], nn.Module] = SiluAndMul, gated: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(Layer(FeedForward(act(), gated)) for _ in range(LAYERS))
        for layer in self.layers:
            layer.mlp.down_proj.weight.data *= 8  # so that switching a few neurons changes what comes next

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(input_ids) + 0.1 * torch.sin(positions)[:, None]
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


@dataclass
class SamplingParams:
    max_tokens: int = 16
    temperature: float = 0.0
    detokenize: bool = True
    extra_args: dict[str, Any] | None = None


@dataclass
class Waiting:
    """A request under way: what the scheduler knows of it."""

    req_id: str
    prompt_token_ids: list[int]
    sampling_params: SamplingParams
    tokens: list[int] = field(default_factory=list)  # with those that were sampled
    read: int = 0


class Runner:
    """The first of vLLM's model runners: the batch is an attribute, in the order in which requests came."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.input_batch = SimpleNamespace(req_ids=[])
        self.waiting: dict[str, Waiting] = {}

    def _run(self, order: Sequence[str], scheduled: dict[str, int]) -> dict[str, int]:
        parts = [self.waiting[name].tokens[(at := self.waiting[name].read) : at + scheduled[name]] for name in order]
        places = [torch.arange(self.waiting[name].read, self.waiting[name].read + scheduled[name]) for name in order]
        ids = torch.tensor([token for part in parts for token in part])
        with torch.inference_mode():
            hidden = self.model(input_ids=ids, positions=torch.cat(places))
            last = torch.tensor([scheduled[name] for name in order]).cumsum(0) - 1
            chosen = (hidden[last] @ self.model.embed.weight.T).argmax(-1).tolist()
        return dict(zip(order, chosen, strict=True))

    def execute_model(self, output: Any) -> dict[str, int]:
        self.input_batch.req_ids = [name for name in self.waiting if name in output.num_scheduled_tokens]
        return self._run(self.input_batch.req_ids, output.num_scheduled_tokens)

    def warm_up(self) -> None:
        with torch.inference_mode():
            self.model(input_ids=torch.zeros(1, dtype=torch.long), positions=torch.zeros(1, dtype=torch.long))


class RunnerV2(Runner):
    """The second: it makes its batch anew in every pass, ordered by length, and warms up through `execute_model`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        del self.input_batch

    def prepare_inputs(self, output: Any) -> Any:
        scheduled = output.num_scheduled_tokens
        return SimpleNamespace(req_ids=sorted(scheduled, key=lambda name: scheduled[name]))

    def execute_model(self, output: Any, dummy_run: bool = False) -> dict[str, int]:
        if dummy_run:
            super().warm_up()
            return {}
        return self._run(self.prepare_inputs(output).req_ids, output.num_scheduled_tokens)

    def warm_up(self) -> None:
        self.execute_model(SimpleNamespace(num_scheduled_tokens={"dummy": 1}), dummy_run=True)


class Worker(WorkerExtension):
    def __init__(self, runner: Runner, **config: Any) -> None:
        self.model_runner = runner
        self.rank = 0
        self.parallel_config = SimpleNamespace(tensor_parallel_size=1)
        self.model_config = SimpleNamespace(enforce_eager=config.get("enforce_eager", True))
        self.cache_config = SimpleNamespace(enable_prefix_caching=config.get("enable_prefix_caching", False))
        self.vllm_config = SimpleNamespace(speculative_config=config.get("speculative_config"))

    def get_model(self) -> nn.Module:
        return self.model_runner.model

    def execute_dummy_batch(self) -> None:
        self.model_runner.warm_up()


class LLM:
    """One worker, and a scheduler that gives it at most `budget` tokens of at most three requests in a pass.

    Args:
        runner: Kind of model runner.
        model: The model it runs.
        budget: Tokens in a pass.
        preempting: Whether the first request that was read is read again, as when memory is short.
        **config: Settings of the engine.
    """

    def __init__(
        self, runner: type[Runner], model: nn.Module, budget: int = 7, preempting: bool = False, **config: Any
    ) -> None:
        self.worker = Worker(runner(model), **config)
        self.budget, self.preempting = budget, preempting
        self.count = 0
        model_config = SimpleNamespace(
            model="org/flat",
            hf_config=SimpleNamespace(_commit_hash="abc", model_type="flat"),
            dtype=torch.float32,
            quantization=None,
            max_model_len=64,
            get_vocab_size=lambda: VOCABULARY,
        )
        parallel = SimpleNamespace(
            worker_extension_cls=config.get("extension", ENGINE_SETTINGS["worker_extension_cls"])
        )
        self.llm_engine = SimpleNamespace(
            vllm_config=SimpleNamespace(model_config=model_config, parallel_config=parallel)
        )

    def collective_rpc(self, method: str, args: tuple = ()) -> list[Any]:
        return [getattr(self.worker, method)(*args)]

    def generate(self, prompts: Sequence[dict], asked: Sequence[SamplingParams], use_tqdm: bool = True) -> list[Any]:
        waiting = self.worker.model_runner.waiting
        new = []
        for prompt, one in zip(prompts, asked, strict=True):
            ids = list(prompt["prompt_token_ids"])
            new.append(Waiting(f"{self.count}-id", ids, one, list(ids)))
            self.count += 1
        requests, preempting = list(new), self.preempting
        finished: set[str] = set()
        while new or waiting:
            while new and len(waiting) < 3:
                each = new.pop(0)
                waiting[each.req_id] = each
            scheduled: dict[str, int] = {}
            for name, each in waiting.items():
                if room := min(self.budget - sum(scheduled.values()), len(each.tokens) - each.read):
                    scheduled[name] = room
            output = SimpleNamespace(
                num_scheduled_tokens=scheduled,
                scheduled_new_reqs=[waiting[name] for name in scheduled if waiting[name].read == 0],
                finished_req_ids=finished,
            )
            sampled = self.worker.model_runner.execute_model(output)
            finished = set()
            for name, number in scheduled.items():
                each = waiting[name]
                each.read += number
                if preempting:
                    each.read, preempting = 0, False
                if each.read < len(each.tokens):
                    continue
                each.tokens.append(sampled[name])
                if len(each.tokens) == len(each.prompt_token_ids) + each.sampling_params.max_tokens:
                    finished.add(name)
                    del waiting[name]
        return [each.tokens[len(each.prompt_token_ids) :] for each in requests]


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the stand-in where `import vllm` finds it."""
    module: Any = SimpleNamespace(SamplingParams=SamplingParams, LLM=LLM, __version__="0.0")
    monkeypatch.setitem(sys.modules, "vllm", module)
