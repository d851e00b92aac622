"""Record histograms of activations: one reading of the text for the range of each neuron, one to count its bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.languages import NOISE
from lape.models.architectures import activation_sites
from lape.recording.histograms import ActivationHistograms
from lape.recording.passes import Made, TextPasses
from lape.recording.rows import Rows, reading_rows
from lape.recording.sources import Source

BINS = 64
MOST_BINS = 4096
REACH = 3.0  # deviations on each side of the mean that the bins cover
FLOOR = -0.4  # no activation function in use goes lower: SiLU ends at -0.28, GELU at -0.17
NARROW, HALF = 1e-3, 0.05  # a range narrower than this is replaced by one of this half-width


class Spread:
    """Number, mean and squared deviation of every neuron's activations, summed up piece by piece.

    Attributes:
        number: float64 `[layers, neurons]`, tokens.
        mean: The same, of the activation.
        squares: The same, the sum of squared deviations from that mean.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.number, self.mean, self.squares = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))

    def see(self, rows: Rows) -> None:
        """Adds the activations of a pass."""
        if number := len(rows.values):
            variance, mean = (found.cpu().double() for found in torch.var_mean(rows.values, 0, correction=0))
            self._join((rows.layer, rows.neurons), torch.full_like(mean, number), mean, variance * number)

    def add(self, made: Made) -> None:
        """Adds those of another language."""
        self._join((slice(None), slice(None)), made["number"], made["mean"], made["squares"])

    @property
    def deviation(self) -> torch.Tensor:
        """Standard deviation: float64 `[layers, neurons]`, 0 where there was no token."""
        return (self.squares / self.number.clamp(min=1)).sqrt()

    def _join(self, at: Any, number: torch.Tensor, mean: torch.Tensor, squares: torch.Tensor) -> None:
        """Without loss of precision (Chan, Golub and LeVeque 1979)."""
        before, total = self.number[at], self.number[at] + number
        share = number / total.clamp(min=1)
        apart = mean - self.mean[at]
        self.squares[at] += squares + apart**2 * before * share
        self.mean[at] += apart * share
        self.number[at] = total


def record_histograms(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    bins: int = BINS,
    tokens: int = 100_000,
    block: int = 512,
    batch: int | None = None,
    progress: bool = True,
    allow_short: bool = False,
    kept: Path | None = None,
) -> ActivationHistograms:
    """Counts how the activation of every neuron is distributed over bins in each language.

    The text is read twice: for the mean and the standard deviation of each neuron, which over all languages' tokens
    give the range of its bins, three deviations on each side of the mean and not below -0.4, and then to count. The
    ranges are those of Distribution-aware Language Neurons (EMNLP 2026), which has 400 bins.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        bins: Of each neuron's range; one below it and one above it come on top.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass; None takes 2 on a CPU and 8 on a GPU.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for what is made of each language as soon as it is done, see `TextPasses`.

    Returns:
        The histograms, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        NotEnoughText: A language has fewer tokens than asked; says how many.
        LapeError: A setting is out of range, or activations are not finite.
    """
    check_bins(bins)
    sites = activation_sites(model)
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": {"bins": bins, **sites.metadata}}
    passes = TextPasses(model, tokenizer, corpora, **given)
    place = {"before": passes.before, "block": block}

    def spread(batches: Iterator[torch.Tensor]) -> Made:
        found = Spread(sites.shape)
        with reading_rows(sites, found.see, **place) as read:
            for inputs in batches:
                read(inputs)
        if not (found.mean.isfinite().all() and found.squares.isfinite().all()):
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        return {
            "number": found.number,
            "mean": found.mean,
            "squares": found.squares,
            "deviation": found.deviation,
        }

    spreads = passes.by_language("spread", spread)
    pooled = Spread(sites.shape)
    for code, made in spreads.items():
        if code != NOISE or len(spreads) == 1:  # what is no language must not widen the bins of languages
            pooled.add(made)
    low, high = ranges(pooled.mean, pooled.deviation)

    def binned(batches: Iterator[torch.Tensor]) -> Made:
        counter = _BinCounter(low, high, bins)
        with reading_rows(sites, counter.see, **place) as read:
            for inputs in batches:
                read(inputs)
        return {"counts": counter.counts, "active": counter.active}

    counted = passes.by_language("bins", binned)
    return ActivationHistograms(
        {code: made["counts"] for code, made in counted.items()},
        low,
        high,
        {code: made["mean"] for code, made in spreads.items()},
        {code: made["deviation"] for code, made in spreads.items()},
        {code: made["active"] for code, made in counted.items()},
        dict(passes.tokens),
        {**passes.metadata, **sites.metadata},
    )


def check_bins(bins: int) -> None:
    """Refuses a number of bins that cannot be counted."""
    if not 1 <= bins <= MOST_BINS:
        raise LapeError(f"bins is a whole number from 1 to {MOST_BINS:,}, not {bins}.")


def ranges(mean: torch.Tensor, deviation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lower and upper ends of bins: float32, of the shape of the means and deviations given."""
    low, high = (mean - REACH * deviation).clamp(min=FLOOR), mean + REACH * deviation
    narrow = high - low < NARROW
    return torch.where(narrow, mean - HALF, low).float(), torch.where(narrow, mean + HALF, high).float()


class _BinCounter:
    """Counts the tokens in each bin of every neuron, one `bincount` a layer, on the CPU.

    Attributes:
        counts: int32 `[layers, neurons, bins + 2]`.
        active: int64 `[layers, neurons]`, tokens at which the activation was above 0.
    """

    def __init__(self, low: torch.Tensor, high: torch.Tensor, bins: int) -> None:
        self.counts = torch.zeros((*low.shape, bins + 2), dtype=torch.int32)
        self.active = torch.zeros(low.shape, dtype=torch.long)
        self._low, self._width, self._bins = low, (high - low) / bins, bins

    def see(self, rows: Rows) -> None:
        """Adds the activations of a pass."""
        at, all_bins, values = (rows.layer, rows.neurons), self._bins + 2, rows.values
        low, width = self._low[at].to(values.device), self._width[at].to(values.device)
        # Before they are whole numbers: far outside of the range they would not fit.
        found = ((values - low) / width).floor_().clamp_(-1, self._bins).long()
        found += torch.arange(1, all_bins * len(low), all_bins, device=values.device)  # its own bins for each neuron
        counts = found.flatten().bincount(minlength=all_bins * len(low)).view(-1, all_bins)
        self.counts[at] += counts.int().cpu()
        self.active[at] += (values > 0).sum(0).cpu()
