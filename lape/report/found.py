"""The evidence of a folder, which may be anybody's: what can be shown of it, the rest left out by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lape.errors import BadFile, leave_out
from lape.evaluation.kinds import KINDS, Evidence
from lape.evaluation.runs.evidence import read_evidence
from lape.storage.schema import misfit, shown


def evidence_of(
    folder: str | os.PathLike[str], mask_sha256: str | None, left_out: list[str] | None = None
) -> dict[str, Evidence]:
    """The evidence in a folder by kind; none where there is no such folder.

    Args:
        folder: Usually `evidence` beside the mask.
        mask_sha256: Of the mask's file, to take the evidence of this mask only; None takes that of any.
        left_out: Gets a sentence for each file that is damaged or cannot be shown; None warns of it instead.
    """
    fitting: dict[str, Evidence] = {}
    damaged: list[str] = []
    found = read_evidence(folder, damaged) if Path(folder).is_dir() else {}
    for reason in damaged:
        leave_out("Evidence", reason, left_out)
    for name, evidence in found.items():
        if mask_sha256 is not None and _mask_sha256(evidence) != mask_sha256:
            continue
        try:
            _check(evidence, f"{name}.json")
        except BadFile as error:
            leave_out("Evidence", str(error), left_out)
        else:
            fitting[str(evidence["kind"])] = evidence
    return fitting


def read(kind: str, evidence: Evidence, show: Callable[[Evidence], Any]) -> Any:
    """Shows evidence of a kind.

    Raises:
        BadFile: It is damaged, or not of this version.
    """
    try:
        return show(evidence)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration, ArithmeticError) as error:
        raise BadFile(
            f"The evidence of {kind} cannot be read ({type(error).__name__}: {shown(str(error))}): it is damaged, or "
            "of another version of lape. Measure it again."
        ) from error


def _check(evidence: Evidence, name: str) -> None:
    """Refuses evidence that cannot be shown.

    Raises:
        BadFile: Names its first place that has another form, or says that its figures do not fit each other.
    """
    if evidence["kind"] not in KINDS:
        raise BadFile(f"{name!r} is of the kind {shown(evidence['kind'])}, not {', '.join(KINDS)}.")
    kind = KINDS[evidence["kind"]]
    if wrong := misfit(evidence, kind.form):
        raise BadFile(f"{name!r} does not say its {wrong}. Measure it again.")
    for show in filter(None, (kind.headline, kind.section, kind.tables, kind.panel)):
        read(kind.name, evidence, show)  # such as figures of a language that others do not know


def _mask_sha256(evidence: Evidence) -> Any:
    settings = evidence["settings"]
    mask = settings.get("mask") if isinstance(settings, dict) else None
    return mask.get("sha256") if isinstance(mask, dict) else None
