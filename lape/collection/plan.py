"""What a collection is made of: the models of a plan, each with everything that decides its masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.kind import held_out_text
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.work import Options
from lape.masks.summaries import mask_path
from lape.recording.corpora import read_corpora
from lape.recording.sources import Source

Corpus = str | Mapping[str, str]


@dataclass(frozen=True)
class MethodPlan:
    """One mask of a model.

    Attributes:
        method: That identifies the neurons.
        settings: Of the method; those left out keep its defaults.
        per_language: As many neurons for every language, instead of the method's own cut.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    per_language: int | None = None


@dataclass(frozen=True)
class EvidencePlan:
    """What is measured of each mask.

    Attributes:
        kinds: Of evidence, in the order in which they are measured.
        given: The options that the plan names.
    """

    kinds: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> Options:
        """The same with the defaults."""
        return Options(**self.given)

    @property
    def reads_text(self) -> bool:
        """Whether some kind is measured on held-out text."""
        return any(held_out_text in KINDS[kind].needs for kind in self.kinds)


@dataclass(frozen=True)
class ModelPlan:
    """One model of a plan.

    Attributes:
        model: Its id on the Hub, by which its masks are found.
        source: What is loaded: the id, or a folder.
        languages: Codes, two or more.
        corpus: What `lape.recording.corpora.read_corpora` takes, for all languages or for each.
        tokens, block, batch, allow_short, groups: As for `lape.recording.recorder.record_groups`.
        quantization, dtype, device, revision: As for `lape.models.loading.load_model`.
        methods: Name of the mask's folder to how it is made.
        evidence: What is measured of each mask.
    """

    model: str
    source: str
    languages: tuple[str, ...]
    corpus: Corpus
    tokens: int = 100_000
    block: int = 512
    batch: int | None = None
    allow_short: bool = False
    groups: int | None = None
    quantization: str | None = None
    dtype: str | None = None
    device: str | None = None
    revision: str | None = None
    methods: Mapping[str, MethodPlan] = field(default_factory=lambda: {"lape": MethodPlan("lape")})
    evidence: EvidencePlan = EvidencePlan()

    def place(self, name: str) -> str:
        """The folder of one of its masks in a collection."""
        return mask_path(self.model, name)

    def corpora(self, split: str = "train") -> dict[str, Source]:
        """Its text, by language."""
        return corpora_of(self.corpus, self.languages, split)

    @property
    def recorded_tokens(self) -> int:
        """Of all languages together, in whole blocks."""
        return len(self.languages) * math.ceil(self.tokens / self.block) * self.block

    @property
    def loading(self) -> dict[str, Any]:
        """How it is loaded, as options of `load_model`."""
        return {name: getattr(self, name) for name in ("quantization", "dtype", "device", "revision")}

    @property
    def recording_id(self) -> str:
        """A name for everything that decides its recording: where it goes on is no part of it."""
        names = ("model", "source", "languages", "corpus", "tokens", "block", "batch", "allow_short", "groups")
        decides = {name: getattr(self, name) for name in (*names, "quantization", "dtype", "revision")}
        return json_hash(decides)[:12]

    def mask_id(self, name: str) -> str:
        """A name for everything that is asked of one of its masks."""
        evidence = [self.evidence.kinds, self.evidence.given]
        return json_hash([self.recording_id, asdict(self.methods[name]), evidence])


def corpora_of(corpus: Corpus, languages: tuple[str, ...] | None, split: str) -> dict[str, Source]:
    """Opens a corpus that is one for all languages, or names one for each.

    Raises:
        LapeError: As `read_corpora` does.
    """
    if isinstance(corpus, str):
        return read_corpora(corpus, languages, split=split)
    return {code: read_corpora(corpus[code], [code], split=split)[code] for code in languages or corpus}
