"""Activation statistics: how often every neuron was active in each language, and what its mean was.

They do not depend on the method that reads them, and statistics of the same model can be merged.

File `statistics.safetensors`, per language code and neuron, all `[layers, neurons]`: the counts `active.<code>` in the
narrowest of uint16, int32 and int64 that holds the tokens, `sum.<code>` float32, and `positive_mean.<code>`, the mean
over the tokens at which the neuron was active, in float16, within 2^-11 of it (float32 where one is above 65,504).
Older files have `positive_sum.<code>` in its place. Of a mixture of experts also `routed.<code>` int64
`[layers, experts]`, the tokens that went to each expert, by which its neurons' counts and sums are divided. One
metadata key `lape`:

    kind            str    "statistics"
    format          int    version of this format
    model           str    Hub id or path
    revision        str?   commit, or gguf-q4_1:<sha256> for the embedded weights
    architecture    str    model type
    dtype           str    computation dtype
    quantization    str?   4bit, 8bit, the method of a checkpoint that came quantised (fp8, gptq, ...), or null
    tokens          dict   language code -> tokens counted
    corpora         dict   language code -> list of {source, sha256 of the token blocks, tokens}
    block           int    tokens per block
    special_tokens  dict   document_end: the separator's token id or null; bos: the ids read before
                           each block and not counted, which the tokenizer puts before text, or false for none
    experts         int?   experts per layer of a mixture; neuron n of expert e is number e * width + n of its layer
    layers          list?  the layers that have neurons, where not all have; the rows of others are 0
    library         dict   package -> version
    date            str    day the recording began, ISO 8601
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from lape.drawing.html import picture_html
from lape.drawing.layers import layers_in_words, layers_svg
from lape.drawing.words import named
from lape.errors import BadFile, MaskMismatch
from lape.languages import by_family
from lape.recording.recorded import Recorded
from lape.storage.brief import on_one_line
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import COUNTED_UNDER, check_metadata
from lape.storage.names import NUMBERS, STATISTICS_NAME, types_text

ROUTED_FORMAT = 2  # of files with routed tokens, which who does not know of them would leave out of account
COUNTS = (torch.uint16, torch.int32, torch.int64)  # types of counts on disk, the narrowest first


@dataclass(frozen=True, eq=False)
class _Widened(Mapping[str, torch.Tensor]):
    """Tensors that stay as narrow as in their file, which is mapped, and are widened one at a time when asked for.

    Attributes:
        narrow: What the file holds.
        dtype: What is given in its place.
        times: What each is multiplied by, such as counts where the file holds means.
    """

    narrow: Mapping[str, torch.Tensor]
    dtype: torch.dtype
    times: Mapping[str, torch.Tensor] | None = None

    def __getitem__(self, code: str) -> torch.Tensor:
        wide = self.narrow[code].to(self.dtype)
        return wide if self.times is None else wide * self.times[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self.narrow)

    def __len__(self) -> int:
        return len(self.narrow)


@dataclass(frozen=True, eq=False, repr=False)
class ActivationStatistics(Recorded):
    """Counts and sums of every neuron's activation, per language.

    Attributes:
        active: Language code to int64 `[layers, neurons]`: tokens at which the activation was above 0.
        sum: Language code to float64 `[layers, neurons]`: sum of the activation over all tokens.
        positive_sum: The same, over the tokens at which it was above 0.
        tokens: Language code to number of tokens counted.
        metadata: Where they come from; the keys are listed in the module's docstring.
        routed: Language code to int64 `[layers, experts]`, the tokens that went to each expert of a mixture; empty for
            a dense model.
    """

    what: ClassVar[str] = "activation statistics"
    file: ClassVar[str] = STATISTICS_NAME
    command: ClassVar[str] = "lape record"

    active: Mapping[str, torch.Tensor]
    sum: Mapping[str, torch.Tensor]
    positive_sum: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]
    routed: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """How many neurons are active in each layer, as a picture for notebooks, below the statistics in one line."""
        return picture_html(statistics_svg(self), repr(self))

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        layers, neurons = next(iter(self.active.values())).shape
        return layers, neurons

    @property
    def experts(self) -> int:
        """Number of experts per layer; 1 for a dense model."""
        return self.metadata.get("experts", 1)

    def probability(self, language: str) -> torch.Tensor:
        """Share of the tokens that reached each neuron at which it was active: float64 `[layers, neurons]`.

        These are all of a language's tokens or, in a mixture of experts, those that were routed to its expert; 0 where
        there were none.
        """
        return self.active[self.known(language)].double() / self._reached(language)

    def share(self, language: str) -> torch.Tensor:
        """Share of all tokens of a language at which each neuron was active, routed to it or not."""
        return self.active[self.known(language)].double() / self.tokens[language]

    def mean(self, language: str) -> torch.Tensor:
        """Mean activation over the tokens of a language that reached each neuron: float64 `[layers, neurons]`."""
        return self.sum[self.known(language)] / self._reached(language)

    def positive_mean(self, language: str) -> torch.Tensor:
        """Mean of the positive part of the activation, over the same tokens."""
        return self.positive_sum[self.known(language)] / self._reached(language)

    def of_layers(self, layers: Sequence[int]) -> ActivationStatistics:
        """The same of some layers, in this order; the metadata stays that of all."""
        rows = list(layers)
        if rows == list(range(self.shape[0])):
            return self  # what a slider asks for at every move need not be copied
        kept = {
            name: {code: tensor[rows] for code, tensor in found.items()}
            for name in ("active", "sum", "positive_sum", "routed")
            if (found := getattr(self, name))
        }
        return replace(self, **kept)

    def of_languages(self, languages: Sequence[str]) -> ActivationStatistics:
        """The same of some languages, in this order, such as to merge them with others of another recording.

        Raises:
            UnknownLabel: A language was not recorded.
        """
        kept = {
            name: {code: found[code] for code in map(self.known, languages) if code in found}
            for name in ("active", "sum", "positive_sum", "tokens", "routed")
            if (found := getattr(self, name))
        }
        read = self.metadata.get("corpora", {})
        described = {"tokens": kept["tokens"], "corpora": {code: read[code] for code in languages if code in read}}
        return replace(self, **kept, metadata={**self.metadata, **described})

    def merge(self, other: ActivationStatistics) -> ActivationStatistics:
        """Adds the counts of another recording of the same model; languages of either are kept.

        Raises:
            MaskMismatch: The two differ in model, revision, dtype, quantisation, block or special tokens.
        """
        for key in COUNTED_UNDER:
            if self.metadata.get(key) != other.metadata.get(key):
                raise MaskMismatch(
                    f"Statistics of {key} {self.metadata.get(key)!r} and {other.metadata.get(key)!r} cannot be merged."
                )
        if self.shape != other.shape:
            raise MaskMismatch(f"Statistics of shape {self.shape} and {other.shape} cannot be merged.")

        def added(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
            both = {code: mine[code] + theirs[code] for code in mine if code in theirs}
            return {**mine, **theirs, **both}

        tokens = added(self.tokens, other.tokens)
        corpora = added(self.metadata.get("corpora", {}), other.metadata.get("corpora", {}))
        date = min(self.metadata.get("date", ""), other.metadata.get("date", ""))
        return ActivationStatistics(
            added(self.active, other.active),
            added(self.sum, other.sum),
            added(self.positive_sum, other.positive_sum),
            tokens,
            {**self.metadata, "tokens": tokens, "corpora": corpora, "date": date},
            added(self.routed, other.routed),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `statistics.safetensors`; the same statistics give the same bytes."""
        tensors = {}
        for code in sorted(self.tokens):
            fitting = (kind for kind in COUNTS if self.tokens[code] <= torch.iinfo(kind).max)
            positive = self.positive_sum[code] / self.active[code].clamp(min=1)
            halved = positive.half()
            tensors[f"active.{code}"] = self.active[code].to(next(fitting))
            tensors[f"sum.{code}"] = self.sum[code].float()
            tensors[f"positive_mean.{code}"] = halved if halved.isfinite().all() else positive.float()
        tensors |= {f"routed.{code}": routed for code, routed in self.routed.items()}
        version = ROUTED_FORMAT if self.routed else FORMAT_VERSION
        save_tensors(path, tensors, {**self.metadata, "kind": "statistics", "format": version})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ActivationStatistics:
        """Reads `statistics.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "statistics")
        check_metadata(metadata, str(path))
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()):
            raise BadFile(f"{str(path)!r} does not say how many tokens were counted.")
        older = not any(name.startswith("positive_mean.") for name in tensors)
        experts = metadata.get("experts", 1)
        kinds = ("active", "sum", "positive_sum" if older else "positive_mean")
        needed = (*kinds, "routed") if experts > 1 else kinds
        for name in (f"{kind}.{code}" for code in tokens for kind in needed):
            if name not in tensors:
                raise BadFile(f"{str(path)!r} lacks the tensor {name!r}.")
            if (given := tensors[name].dtype) not in (
                *NUMBERS,
                *(COUNTS if name.startswith(("active.", "routed.")) else ()),
            ):
                wrong = f"{types_text(given)}, not numbers in one of {types_text(*NUMBERS)}"
                raise BadFile(f"{str(path)!r} holds the tensor {name!r} as {wrong}.")
        active, sums, positive = ({code: tensors[f"{kind}.{code}"] for code in tokens} for kind in kinds)
        shapes = {tuple(tensor.shape) for group in (active, sums, positive) for tensor in group.values()}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or 0 in shape:
            listed = ", ".join(map(str, sorted(shapes)[:5]))
            raise BadFile(f"{str(path)!r} holds tensors of different shapes, or not [layers, neurons]: {listed}.")
        layers, neurons = shape
        routed = {code: tensors[f"routed.{code}"].long() for code in tokens} if experts > 1 else {}
        if any(tensor.shape != (layers, experts) for tensor in routed.values()) or neurons % experts:
            raise BadFile(f"{str(path)!r} holds routed tokens of another shape than [layers, experts].")
        if any(layer >= layers for layer in metadata.get("layers", ())):
            raise BadFile(f"{str(path)!r} names layers that it has no counts of.")
        counted = _Widened(active, torch.int64)
        most = {code: _by_neuron(tensor, neurons) for code, tensor in routed.items()} or tokens
        if any(counts.min() < 0 or (counts > most[code]).any() for code, counts in counted.items()) or any(
            counts.max() > tokens[code] for code, counts in routed.items()
        ):
            raise BadFile(f"{str(path)!r} counts a neuron active more often than there were tokens.")
        if not all(tensor.isfinite().all() for group in (sums, positive) for tensor in group.values()):
            raise BadFile(f"{str(path)!r} holds sums that are not finite.")
        positive_sums = _Widened(positive, torch.float64, times=None if older else counted)
        return cls(counted, _Widened(sums, torch.float64), positive_sums, tokens, metadata, routed)

    def _reached(self, language: str) -> torch.Tensor | int:
        """How many tokens of a language reached each neuron, 1 where none did: `[layers, neurons]`, or for all."""
        if not self.routed:
            return self.tokens[language]
        return _by_neuron(self.routed[language], self.shape[1]).clamp(min=1)


def _by_neuron(routed: torch.Tensor, neurons: int) -> torch.Tensor:
    """What each expert has `[layers, experts]`, for each of its neurons `[layers, neurons]`."""
    return routed.repeat_interleave(neurons // routed.shape[1], dim=1)


def statistics_beside(mask: str | os.PathLike[str]) -> ActivationStatistics | None:
    """The statistics that lie beside a mask, or None where there are none.

    Args:
        mask: A mask's folder or file.

    Raises:
        BadFile: They are damaged.
    """
    folder = Path(mask) if Path(mask).is_dir() else Path(mask).parent
    file = folder / STATISTICS_NAME
    return ActivationStatistics.load(file) if file.is_file() else None


def statistics_svg(statistics: ActivationStatistics) -> str:
    """A heat map of how many neurons of each layer are active at a token of each language, on average.

    Returns:
        A self-contained SVG; the same statistics give the same text.
    """
    counts = {
        on_one_line(named(code)): [round(active) for active in statistics.share(code).sum(1).tolist()]
        for code in by_family(statistics.languages)
    }
    heading = "Neurons active at a token, mean, per layer and language"
    return layers_svg(counts, title=heading, heading=heading, about=layers_in_words(counts))
