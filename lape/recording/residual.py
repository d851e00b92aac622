"""Record the means of the residual stream: one small tensor per pass, made where each layer is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.models.residual import ResidualStream, residual_stream
from lape.recording.passes import TextPasses
from lape.recording.residual_means import ResidualMeans
from lape.recording.sources import Source


class StreamSums(NamedTuple):
    """What was summed of a pass, on the CPU.

    Attributes:
        tokens: Of the pass.
        sum: float32 `[layers, dimensions]`, of the stream over all tokens.
        norm_sum: float32 `[layers]`, of its Euclidean norm.
        scatter: Layer to float32 `[dimensions, dimensions]`: the sum of outer products of the tokens with themselves,
            around the mean of the pass.
    """

    tokens: int
    sum: torch.Tensor
    norm_sum: torch.Tensor
    scatter: Mapping[int, torch.Tensor]


@contextmanager
def summing(
    stream: ResidualStream, *, before: int = 0, covariance_layers: Sequence[int] = ()
) -> Iterator[Callable[[Callable[[], object]], StreamSums]]:
    """Watches the stream after every layer; gives a function that runs a pass and takes its sums.

    Args:
        stream: Of the model.
        before: Tokens at the beginning of each row, which are not counted.
        covariance_layers: Layers at which the scatter is kept too.

    Yields:
        A function that calls what it is given, which runs the decoder once, and returns what was summed.
    """
    seen: dict[int, tuple[int, torch.Tensor, torch.Tensor]] = {}
    scatter: dict[int, torch.Tensor] = {}

    def see(layer: int, hidden: torch.Tensor) -> None:
        values = hidden[:, before:].flatten(0, 1).float()
        seen[layer] = len(values), values.sum(0), values.norm(dim=1).sum()
        if layer in covariance_layers:
            centred = values - values.mean(0)
            scatter[layer] = centred.T @ centred

    def summed(run: Callable[[], object]) -> StreamSums:
        seen.clear()  # of the pass before, which may have failed
        scatter.clear()
        run()
        if missing := sorted(set(range(stream.shape[0])) - set(seen)):
            raise HookNotFired(f"The decoder ran, but the outputs of layers {missing} did not pass their hooks.")
        tokens, sums, norms = zip(*(seen[layer] for layer in range(stream.shape[0])), strict=True)
        scattered = {layer: found.cpu() for layer, found in sorted(scatter.items())}
        taken = StreamSums(tokens[0], _stacked(sums), _stacked(norms), scattered)
        if not (taken.sum.isfinite().all() and taken.norm_sum.isfinite().all()):
            raise LapeError("The model's residual stream is not finite; load it in another dtype (float32, bfloat16).")
        return taken

    with stream.watch({layer: partial(see, layer) for layer in range(stream.shape[0])}):
        yield summed


@dataclass(frozen=True)
class StreamTally:
    """What has been summed of one language; replaced as a whole after each pass.

    Attributes:
        sum: float64 `[layers, dimensions]`.
        norm_sum: float64 `[layers]`.
        tokens: Summed.
        scatter: Layer to float64 `[dimensions, dimensions]`, around the mean of all tokens so far.
    """

    sum: torch.Tensor
    norm_sum: torch.Tensor
    tokens: int = 0
    scatter: Mapping[int, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> StreamTally:
        return cls(torch.zeros(shape, dtype=torch.float64), torch.zeros(shape[0], dtype=torch.float64))

    def add(self, summed: StreamSums) -> StreamTally:
        """Adds one pass; scatters are joined without loss of precision (Chan, Golub and LeVeque 1979)."""
        total = self.tokens + summed.tokens
        sums = summed.sum.double()
        scatter = {}
        for layer, found in summed.scatter.items():
            scatter[layer] = found.double()
            if self.tokens:
                apart = sums[layer] / summed.tokens - self.sum[layer] / self.tokens
                weight = self.tokens * summed.tokens / total
                scatter[layer] += self.scatter[layer] + weight * torch.outer(apart, apart)
        return StreamTally(self.sum + sums, self.norm_sum + summed.norm_sum.double(), total, scatter)


def middle_layer(layers: int) -> int:
    """The layer that ends the first half of the model (Language Surgery, arXiv 2506.12450)."""
    return max(0, layers // 2 - 1)


def record_residuals(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = 10_000,
    block: int = 512,
    batch: int | None = None,
    covariance_layers: Sequence[int] | None = None,
    progress: bool = True,
    allow_short: bool = False,
    kept: Path | None = None,
) -> ResidualMeans:
    """Sums the residual stream after every layer over each language's tokens.

    Text is read as for activation statistics: in blocks, each after what the tokenizer puts before text, which is not
    counted.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks. Some thousands are enough for means; a covariance
            needs more than the stream has dimensions.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass; None takes 2 on a CPU and 8 on a GPU.
        covariance_layers: Layers whose covariance is kept; None is the middle one.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for the sums of each language as soon as they are made, see `TextPasses`.

    Returns:
        The sums, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        NotEnoughText: A language has fewer tokens than asked; says how many.
        LapeError: A setting is out of range, or the stream is not finite.

    Example:
        >>> means = record_residuals(model, tokenizer, {"fr": ["Bonjour."], "en": ["Hello."]})  # doctest: +SKIP
    """
    stream = residual_stream(model)
    layers = (middle_layer(stream.shape[0]),) if covariance_layers is None else tuple(sorted({*covariance_layers}))
    if beyond := [layer for layer in layers if not 0 <= layer < stream.shape[0]]:
        raise LapeError(f"There is no layer {beyond[0]}; the model's layers are 0 to {stream.shape[0] - 1}.")
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": {"covariance_layers": list(layers)}}
    passes = TextPasses(model, tokenizer, corpora, **given)
    with summing(stream, before=passes.before, covariance_layers=layers) as summed, torch.no_grad():

        def tallied(batches: Iterator[torch.Tensor]) -> dict[str, torch.Tensor]:
            tally = StreamTally.empty(stream.shape)
            for inputs in batches:
                tally = tally.add(summed(partial(stream.decoder, input_ids=inputs, use_cache=False)))
            scatter = {f"scatter.{layer}": found for layer, found in tally.scatter.items()}
            return {"sum": tally.sum, "norm_sum": tally.norm_sum, **scatter}

        made = passes.by_language("residuals", tallied)
    total = sum(passes.tokens.values())
    return ResidualMeans(
        {code: found["sum"] for code, found in made.items()},
        {code: found["norm_sum"] for code, found in made.items()},
        passes.tokens,
        passes.metadata,
        {layer: torch.stack([found[f"scatter.{layer}"] for found in made.values()]).sum(0) / total for layer in layers},
    )


def _stacked(by_layer: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of all layers, which may be on several devices."""
    return torch.stack([found.cpu() for found in by_layer])
