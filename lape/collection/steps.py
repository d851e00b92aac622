"""The steps from a model to its masks on the Hub. Each looks at what is there, and does only what is not."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.collection.plan import MethodPlan, ModelPlan
from lape.evaluation.measuring import measure
from lape.evaluation.runs.evidence import FOLDER, json_hash
from lape.evaluation.runs.subject import Subject
from lape.identify import identify
from lape.models import loading
from lape.recording.kept import record_into
from lape.recording.statistics import ActivationStatistics
from lape.report import write_tables
from lape.storage.files import sha256_of
from lape.storage.names import EVIDENCE_NAME, MASK_NAME, STATISTICS_NAME
from lape.storage.placing import PREFIX, atomic_write, settle, temporary_folder

RECORDINGS, MASKS = "recordings", "masks"  # folders of the work folder


class LoadedWhenNeeded:
    """A model of a plan, loaded at the first call and let go at the end of the context.

    Args:
        plan: Says which.
    """

    def __init__(self, plan: ModelPlan) -> None:
        self._plan = plan
        self._loaded: tuple[PreTrainedModel, Tokenizer] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loaded = None
        gc.collect()  # a model is full of cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __call__(self) -> tuple[PreTrainedModel, Tokenizer]:
        if self._loaded is None:
            self._loaded = loading.load_model(self._plan.source, **self._plan.loading)
            self._loaded[0].name_or_path = self._plan.model  # of a folder, the model that it holds
        return self._loaded


def record_step(plan: ModelPlan, out: Path, load: LoadedWhenNeeded) -> Path:
    """The folder of a model's recording, which is made, or gone on with, where it is not whole.

    It is named by what decides it: another number of tokens is another recording, and the old one stays.
    """
    folder = out / RECORDINGS / plan.place(plan.recording_id)
    settle(folder)
    if not (folder / STATISTICS_NAME).is_file():
        corpora = plan.corpora()
        settings: dict[str, Any] = {
            "tokens": plan.tokens,
            "block": plan.block,
            "batch": plan.batch,
            "groups": plan.groups,
        }
        record_into(folder, *load(), corpora, allow_short=plan.allow_short, **settings)
    return folder


def identify_step(method: MethodPlan, recording: Path, folder: Path) -> None:
    """Writes a mask; the evidence of an older one goes before it, and that of the same one stays."""
    statistics = ActivationStatistics.load(recording / STATISTICS_NAME)
    mask = identify(statistics, method.method, per_language=method.per_language, **method.settings)
    settle(folder)
    with temporary_folder(folder.parent) as made:
        mask.save(made / "mask")  # in it, for the folder itself is locked
        if (folder / MASK_NAME).is_file() and sha256_of(folder / MASK_NAME) == sha256_of(made / "mask" / MASK_NAME):
            return
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / EVIDENCE_NAME).unlink(missing_ok=True)
    mask.save(folder)


def evidence_id(plan: ModelPlan, recording: Path, folder: Path) -> str:
    """A name for everything that decides the evidence of a mask."""
    mask, statistics = sha256_of(folder / MASK_NAME), sha256_of(recording / STATISTICS_NAME)
    corpus = plan.corpus if plan.evidence.reads_text else None
    return json_hash([mask, statistics, corpus, plan.evidence.kinds, plan.evidence.given])


def evidence_is_there(plan: ModelPlan, folder: Path) -> bool:
    """Whether there is a file of each kind that was measured when `evidence_id` was written down."""
    settle(folder / FOLDER)
    return all((folder / FOLDER / f"{kind}.json").is_file() for kind in plan.evidence.kinds)


def evidence_step(plan: ModelPlan, name: str, recording: Path, folder: Path, load: LoadedWhenNeeded) -> None:
    """Measures the kinds of evidence that are not there."""
    text = plan.corpora("valid") if plan.evidence.reads_text else {}
    subject = Subject(folder, load, corpora=text, recording=recording)
    measure(subject, plan.evidence.options, plan.evidence.kinds, _command_options(plan, name))


def pack_step(plan: ModelPlan, recording: Path, folder: Path) -> None:
    """Puts beside a mask what goes with it: its statistics, and the tables of its evidence."""
    if not _same(recording / STATISTICS_NAME, folder / STATISTICS_NAME):
        with atomic_write(folder / STATISTICS_NAME) as temporary:
            shutil.copyfile(recording / STATISTICS_NAME, temporary)
    settle(folder / FOLDER)
    if plan.evidence.kinds:
        write_tables(folder / FOLDER, folder / EVIDENCE_NAME)


def contents_id(folder: Path, repo: str) -> str:
    """A name for a mask's folder as it is, in a collection."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return json_hash([repo, {name: sha256_of(path) for name, path in files.items() if PREFIX not in name}])


def _same(file: Path, other: Path) -> bool:
    return other.is_file() and sha256_of(file) == sha256_of(other)


def _command_options(plan: ModelPlan, name: str) -> Mapping[str, Any]:
    """The options of `lape evaluate` that measure the same, with the mask where a pull puts it."""
    options = plan.evidence.options
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(options).items()}
    given["strengths"] = [*options.strengths.items()] if "strengths" in plan.evidence.given else None
    corpus = plan.corpus if isinstance(plan.corpus, str) else None  # one for each language has no option
    mask = f"precomputed/{plan.place(name)}"
    return given | plan.loading | {"model": plan.model, "mask": mask, "corpus": corpus}
