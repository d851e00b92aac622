"""A model in vLLM as the rest of lape knows models: to record with `lape.record`, and to steer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, unknown_label
from lape.generation.interventions import Intervention
from lape.models.conversion import converted_folder
from lape.models.embedded import embedded_model
from lape.models.identity import ModelIdentity
from lape.models.presets import resolve_name
from lape.recording.counters import ActivationCounter, Count
from lape.recording.counting import Counts
from lape.serving.passes import BLOCK
from lape.serving.shards import whole_counts, whole_shape

if TYPE_CHECKING:
    from vllm import LLM

# What vLLM must be started with: hooks see a model that runs as it is written, and every token is read by each request.
ENGINE_SETTINGS: Mapping[str, Any] = {
    "worker_extension_cls": "lape.serving.worker.WorkerExtension",
    "enforce_eager": True,
    "enable_prefix_caching": False,
}
BATCH = 64  # blocks at once; vLLM itself divides them into passes


@dataclass(frozen=True)
class Engine(ActivationCounter):
    """A model in vLLM that can be recorded and steered.

    Attributes:
        llm: vLLM's own, to generate with.

    Example:
        >>> engine, tokenizer = load_engine("Qwen/Qwen3-8B", tensor_parallel_size=2)  # doctest: +SKIP
        >>> statistics = lape.record(engine, tokenizer, corpora)  # doctest: +SKIP
        >>> with engine.steering({"off-fr": Intervention(mask, off="fr")}):  # doctest: +SKIP
        ...     engine.llm.generate(prompts, SamplingParams(extra_args={"lape": "off-fr"}))
    """

    llm: LLM

    @classmethod
    def of(cls, llm: LLM, *, model: str | None = None, revision: str | None = None) -> Engine:
        """Of a model that is loaded already.

        Args:
            llm: Started with `ENGINE_SETTINGS`.
            model: What statistics call it; None takes vLLM's name.
            revision: Its commit, where it is known.

        Raises:
            LapeError: It was started otherwise, or the model cannot be watched.
        """
        import vllm

        config = llm.llm_engine.vllm_config.model_config
        if llm.llm_engine.vllm_config.parallel_config.worker_extension_cls != ENGINE_SETTINGS["worker_extension_cls"]:
            raise LapeError(f"vLLM was started without lape's workers: give LLM the settings {dict(ENGINE_SETTINGS)}.")
        return cls(
            identity=ModelIdentity(
                model=model or config.model,
                revision=revision or getattr(config.hf_config, "_commit_hash", None),
                dtype=str(config.dtype).removeprefix("torch."),
                quantization=config.quantization,
            ),
            architecture=config.hf_config.model_type,
            shape=whole_shape(llm.collective_rpc("lape_describe")),
            experts=1,
            layout={},
            rows=config.get_vocab_size(),
            context=config.max_model_len - 1,  # a request asks for one token
            library={"vllm": vllm.__version__},
            llm=llm,
        )

    def batch(self, block: int) -> int:
        """Enough requests to keep the engine busy, which makes batches of its own."""
        return BATCH

    @contextmanager
    def counting(self, block: int, before: Sequence[int], *, apart: bool) -> Iterator[Count]:
        """See `ActivationCounter`; every block is a request for one token."""
        from vllm import SamplingParams

        def count(blocks: torch.Tensor) -> Counts:
            self.llm.collective_rpc("lape_count", args=(len(before), block, len(blocks) if apart else 1))
            prompts = [{"prompt_token_ids": [*before, *row]} for row in blocks.tolist()]
            asked = [
                SamplingParams(max_tokens=1, temperature=0, detokenize=False, extra_args={BLOCK: number * apart})
                for number in range(len(blocks))
            ]
            self.llm.generate(prompts, asked, use_tqdm=False)
            return Counts(whole_counts(self.llm.collective_rpc("lape_counted"), self.shape, blocks.numel()), None)

        try:
            yield count
        finally:
            self.llm.collective_rpc("lape_stop_counting")

    @contextmanager
    def steering(self, interventions: Mapping[str, Intervention]) -> Iterator[None]:
        """Offers interventions by name, for as long as the block runs.

        A request is steered by the one that its sampling parameters name, as in
        `SamplingParams(extra_args={"lape": "off-fr"})`, and untouched without. Requests of one batch may name
        different ones.

        Args:
            interventions: Name to intervention.

        Raises:
            MaskMismatch: A mask is for a model of another shape.
            UnknownLabel: On a clean exit, when a request named one that is not there; it was not steered.
        """
        for mask in {id(each.mask): each.mask for each in interventions.values()}.values():
            mask.check_against(self.identity, self.shape, self.experts)
        plans = {name: plain(each) for name, each in interventions.items()}
        self.llm.collective_rpc("lape_steer", args=(plans, self.shape[1]))
        unknown: set[str] = set()
        try:
            yield
        finally:
            unknown = set().union(*self.llm.collective_rpc("lape_release", args=(list(plans),)))
        if unknown:
            raise unknown_label("intervention", min(unknown), plans)


def load_engine(
    model: str | os.PathLike[str] | None = None, *, revision: str | None = None, **settings: Any
) -> tuple[Engine, Tokenizer]:
    """Loads a model into vLLM, and its tokenizer.

    Args:
        model: A Hub id, a folder, or the name of a preset. None is the embedded default.
        revision: Branch, tag or commit on the Hub.
        **settings: vLLM's own of `LLM`, such as `dtype`, `tensor_parallel_size`, `max_model_len`.

    Returns:
        The engine, to be passed to `lape.record` in place of a model, and the tokenizer.

    Raises:
        LapeError: vLLM is not installed, was asked for what lape cannot work with, or cannot run the model.
    """
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # standard output is for results
    try:
        from vllm import LLM
    except ImportError as error:
        raise LapeError("vLLM is not installed; docs/vllm.md says how to.") from error
    if wrong := [key for key in ENGINE_SETTINGS if key in settings and settings[key] != ENGINE_SETTINGS[key]]:
        raise LapeError(f"lape needs {wrong[0]}={ENGINE_SETTINGS[wrong[0]]!r} of vLLM, not {settings[wrong[0]]!r}.")
    name = resolve_name(model)
    embedded = embedded_model(name) if revision is None else None
    embedded = embedded if embedded and embedded.files() else None
    source = str(converted_folder(embedded)) if embedded else name
    llm = LLM(model=source, revision=revision, trust_remote_code=False, **{**settings, **ENGINE_SETTINGS})
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    return Engine.of(llm, model=name, revision=embedded.revision if embedded else None), tokenizer


def plain(intervention: Intervention) -> dict[str, Any]:
    """An intervention in numbers, texts and lists: what `lape_steer` of a worker takes, also as JSON.

    Args:
        intervention: Of a mask of the model that is served.
    """
    operations = [
        {key: part.tolist() if isinstance(part, torch.Tensor) else part for key, part in operation._asdict().items()}
        for operation in intervention.operations()
    ]
    layers = intervention.layers
    if layers is not None and not set(layers) <= set(range(intervention.mask.shape[0])):
        raise LapeError(f"{layers} names layers the model does not have; it has {intervention.mask.shape[0]}.")
    return {"positions": intervention.positions, "operations": operations}
