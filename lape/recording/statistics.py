"""Activation statistics: how often every neuron was active in each language, and what its mean was.

They do not depend on the method that reads them, and statistics of the same model can be merged.

File `statistics.safetensors`, per language code and neuron, all `[layers, neurons]`: the counts `active.<code>` in the
narrowest of uint16, int32 and int64 that holds the tokens, `sum.<code>` float32, and `positive_mean.<code>`, the mean
over the tokens at which the neuron was active, in float16, within 2^-11 of it (float32 where one is above 65,504).
Older files have `positive_sum.<code>` in its place. One metadata key `lape`:

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
    library         dict   package -> version
    date            str    day the recording began, ISO 8601
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lape.errors import BadFile, MaskMismatch, unknown_label
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import COUNTED_UNDER, check_metadata
from lape.storage.names import NUMBERS, STATISTICS_NAME, types_text

COUNTS = (torch.uint16, torch.int32, torch.int64)  # types of counts on disk, the narrowest first


@dataclass(frozen=True, eq=False)
class ActivationStatistics:
    """Counts and sums of every neuron's activation, per language.

    Attributes:
        active: Language code to int64 `[layers, neurons]`: tokens at which the activation was above 0.
        sum: Language code to float64 `[layers, neurons]`: sum of the activation over all tokens.
        positive_sum: The same, over the tokens at which it was above 0.
        tokens: Language code to number of tokens counted.
        metadata: Where they come from; the keys are listed in the module's docstring.
    """

    active: Mapping[str, torch.Tensor]
    sum: Mapping[str, torch.Tensor]
    positive_sum: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    @property
    def languages(self) -> tuple[str, ...]:
        """Language codes, sorted."""
        return tuple(sorted(self.tokens))

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        layers, neurons = next(iter(self.active.values())).shape
        return layers, neurons

    def probability(self, language: str) -> torch.Tensor:
        """Share of a language's tokens at which each neuron was active: float64 `[layers, neurons]`."""
        return self.active[self._known(language)].double() / self.tokens[language]

    def mean(self, language: str) -> torch.Tensor:
        """Mean activation over all tokens of a language: float64 `[layers, neurons]`."""
        return self.sum[self._known(language)] / self.tokens[language]

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
        )

    def provenance(self, languages: Sequence[str]) -> dict[str, Any]:
        """What was counted for some languages and how: tokens, corpora, dtype, quantization, library, date."""
        found = {key: self.metadata.get(key) for key in ("dtype", "quantization", "library", "date")}
        corpora = self.metadata.get("corpora", {})
        by_language = {"tokens": {code: self.tokens[code] for code in languages}}
        return {**found, **by_language, "corpora": {code: corpora.get(code, []) for code in languages}}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `statistics.safetensors`; the same statistics give the same bytes."""
        tensors = {}
        for code in self.languages:
            fitting = (kind for kind in COUNTS if self.tokens[code] <= torch.iinfo(kind).max)
            positive = self.positive_sum[code] / self.active[code].clamp(min=1)
            halved = positive.half()
            tensors[f"active.{code}"] = self.active[code].to(next(fitting))
            tensors[f"sum.{code}"] = self.sum[code].float()
            tensors[f"positive_mean.{code}"] = halved if halved.isfinite().all() else positive.float()
        save_tensors(path, tensors, {**self.metadata, "kind": "statistics", "format": FORMAT_VERSION})

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
        kinds = ("active", "sum", "positive_sum" if older else "positive_mean")
        for name in (f"{kind}.{code}" for code in tokens for kind in kinds):
            if name not in tensors:
                raise BadFile(f"{str(path)!r} lacks the tensor {name!r}.")
            if (given := tensors[name].dtype) not in (*NUMBERS, *(COUNTS if name.startswith("active.") else ())):
                wrong = f"{types_text(given)}, not numbers in one of {types_text(*NUMBERS)}"
                raise BadFile(f"{str(path)!r} holds the tensor {name!r} as {wrong}.")
        active = {code: tensors[f"active.{code}"].long() for code in tokens}
        sums = {code: tensors[f"sum.{code}"].double() for code in tokens}
        positive = {code: tensors[f"{kinds[2]}.{code}"].double() for code in tokens}
        shapes = {tuple(tensor.shape) for group in (active, sums, positive) for tensor in group.values()}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or 0 in shape:
            listed = ", ".join(map(str, sorted(shapes)[:5]))
            raise BadFile(f"{str(path)!r} holds tensors of different shapes, or not [layers, neurons]: {listed}.")
        if any(counts.min() < 0 or counts.max() > tokens[code] for code, counts in active.items()):
            raise BadFile(f"{str(path)!r} counts a neuron active more often than there were tokens.")
        if not all(tensor.isfinite().all() for group in (sums, positive) for tensor in group.values()):
            raise BadFile(f"{str(path)!r} holds sums that are not finite.")
        positive_sums = positive if older else {code: positive[code] * active[code] for code in tokens}
        return cls(active, sums, positive_sums, tokens, metadata)

    def _known(self, language: str) -> str:
        if language not in self.tokens:
            raise unknown_label("language in these statistics", language, self.tokens)
        return language


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
