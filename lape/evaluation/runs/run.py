"""From a model and its mask to a file of evidence: cells that are kept, progress, and going on after a stop."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.perplexity import text_blocks
from lape.evaluation.runs.evidence import Cell, Ledger, environment, read_evidence, text_hash, write_evidence
from lape.masks.mask import NeuronMask
from lape.models.identity import identity
from lape.recording.groups import BlockGroups
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.storage.files import sha256_of
from lape.storage.names import GROUPS_NAME, MASK_NAME, STATISTICS_NAME

LEDGER_ENDING = ".cells.jsonl"  # beside the evidence it becomes


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        tokens: Of held-out text for each language.
        block: Tokens per block.
        seeds: How many random masks are the control.
        items: Questions per language of the next-line check.
        seed: Of questions and resamples.
    """

    tokens: int = 2048
    block: int = 128
    seeds: int = 5
    items: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise LapeError(
                f"Figures without a random control mean little: seeds must be at least 1, not {self.seeds}."
            )
        if self.items < 2:
            raise LapeError(f"An interval needs 2 items or more, not {self.items}.")


@dataclass(frozen=True)
class Subject:
    """What is measured: a mask, what lies beside it, and its model, which is loaded when needed.

    Attributes:
        folder: Holds `mask.safetensors`, and what there is of the recording.
        load: Gives the model and its tokenizer.
        corpora: Held-out text by language; empty where none was named.
        languages: To be switched and measured; empty takes all of the mask.
    """

    folder: Path
    load: Callable[[], tuple[PreTrainedModel, Tokenizer]]
    corpora: Mapping[str, Source] = field(default_factory=dict)
    languages: tuple[str, ...] = ()

    @cached_property
    def whole_mask(self) -> NeuronMask:
        """The mask with every language it was identified among."""
        return NeuronMask.load(self.folder)

    @cached_property
    def mask(self) -> NeuronMask:
        """The mask with the languages that are measured."""
        return narrowed(self.whole_mask, self.languages)

    @cached_property
    def statistics(self) -> ActivationStatistics | None:
        """Those beside the mask, if any."""
        file = self.folder / STATISTICS_NAME
        return ActivationStatistics.load(file) if file.is_file() else None

    @cached_property
    def groups(self) -> BlockGroups | None:
        """The counts of groups of blocks beside the mask, if any."""
        file = self.folder / GROUPS_NAME
        return BlockGroups.load(file) if file.is_file() else None

    @cached_property
    def loaded(self) -> tuple[PreTrainedModel, Tokenizer]:
        """The model and its tokenizer; refuses one the mask is not for."""
        self.whole_mask  # noqa: B018  # a damaged mask is cheaper to find out than a model to load
        model, tokenizer = self.load()
        self.whole_mask.check(model)
        return model, tokenizer

    def text(self) -> dict[str, Source]:
        """Held-out text of the languages of the mask.

        Raises:
            LapeError: There is none.
        """
        found = {code: self.corpora[code] for code in self.mask.languages if code in self.corpora}
        if not found:
            raise LapeError("This is measured on held-out text in the mask's languages: name it with --corpus.")
        return found

    def blocks(self, tokens: int, block: int) -> dict[str, list[torch.Tensor]]:
        """The same as blocks of tokens."""
        return text_blocks(self.loaded[1], self.text(), tokens=tokens, block=block)

    def settings(self, **other: Any) -> dict[str, Any]:
        """What every run on this mask depends on, and what else one does."""
        about = {key: self.whole_mask.metadata.get(key) for key in ("method", "settings", "model", "revision")}
        mask = {**about, "model": _public(about["model"]), "sha256": self.hash_of(MASK_NAME)}
        return {"mask": mask, "languages": list(self.mask.languages), **other}

    def model_settings(self) -> dict[str, Any]:
        """The model that is loaded."""
        found = asdict(identity(self.loaded[0]))
        return {**found, "model": _public(found["model"])}

    def text_settings(self, blocks: Mapping[str, Sequence[torch.Tensor]]) -> dict[str, Any]:
        """Which text is measured."""
        return {code: text_hash(self.corpora[code], some) for code, some in blocks.items()}

    def hash_of(self, name: str) -> str | None:
        """The SHA-256 of a file beside the mask; None where there is none."""
        file = self.folder / name
        return sha256_of(file) if file.is_file() else None


def narrowed(mask: NeuronMask, languages: Iterable[str]) -> NeuronMask:
    """A mask with some of its languages; with all when none is named."""
    kept = [mask.known(code) for code in languages] or list(mask.languages)
    neurons, means, selection = (
        {code: column[code] for code in kept if code in column} for column in (mask.neurons, mask.means, mask.selection)
    )
    return replace(mask, neurons=neurons, means=means, selection=selection)


@dataclass(frozen=True)
class Work:
    """A measurement that is ready to be made: everything has been checked, nothing computed.

    Attributes:
        title: Of the evidence.
        settings: Everything that decides its results.
        cells: How many it will ask for, at most.
        measure: Gives the results.
        summary: Says them in a sentence.
    """

    title: str
    settings: Mapping[str, Any]
    cells: int
    measure: Callable[[Cell], dict[str, Any]]
    summary: Callable[[dict[str, Any]], str]


def json_hash(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _public(model: Any) -> str:
    """A model's name; of a folder on this machine its own name only."""
    return Path(str(model)).name if Path(str(model)).is_absolute() else str(model)


def measured_before(kind: str, work: Work, out: Path) -> bool:
    """Whether the file of evidence is there already, with these settings."""
    if not (out / f"{kind}.json").is_file():
        return False
    found = read_evidence(out).get(kind, {})
    return found.get("settings") == json.loads(json.dumps(work.settings))


def run(kind: str, work: Work, out: Path, *, command: str, device: str, progress: bool = True) -> Path:
    """Measures and writes `<out>/<kind>.json`; what an earlier run had measured is not measured again.

    Cells are kept in `<out>/<kind>.cells.jsonl`, which is removed at the end.

    Args:
        kind: Of evidence, and name of its file.
        work: What to measure.
        out: Folder of evidence.
        command: That makes the file again.
        device: Of the model.
        progress: Whether to show a bar on standard error.

    Raises:
        CheckpointMismatch: Cells of other settings are there.
        KeyboardInterrupt: After saying how many cells are kept.
    """
    path = out / f"{kind}{LEDGER_ENDING}"
    with Ledger(path, work.settings) as ledger:
        bar = tqdm(total=work.cells, initial=ledger.kept, unit="cell", desc=kind, disable=not progress)

        def cell(key: str, compute: Callable[[], Any]) -> Any:
            known = key in ledger
            bar.set_postfix_str(key.removeprefix(f"{kind} "), refresh=False)
            value = ledger.cell(key, compute)
            bar.update(not known)
            return value

        try:
            results = work.measure(cell)
            bar.total = bar.n  # some cells are the same
        except KeyboardInterrupt:
            bar.close()
            print(f"lape: {bar.n} of {work.cells} cells of {kind} are kept; the same command goes on.", file=sys.stderr)
            raise
        finally:
            bar.close()
        seconds = ledger.seconds
    written = write_evidence(
        out,
        kind,
        kind=kind,
        title=work.title,
        summary=work.summary(results),
        settings=work.settings,
        environment=environment(device),
        command=command,
        seconds=seconds,
        results=results,
    )
    path.unlink()
    return written
