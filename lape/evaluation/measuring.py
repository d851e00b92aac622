"""Several kinds of evidence of one mask, one after another: what `lape evaluate` does, and `lape collect`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lape.evaluation.kinds import KINDS, Kind
from lape.evaluation.runs.evidence import read_evidence
from lape.evaluation.runs.run import measured_before, run
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options
from lape.models.architectures import input_device
from lape.processes import ALONE, Processes

# Options of every kind.
OF_ALL = ("model", "quantization", "dtype", "device", "cpu_form", "revision", "mask", "languages")


def measure(
    subject: Subject,
    asked: Options,
    wanted: Sequence[str],
    given: Mapping[str, Any],
    *,
    again: bool = False,
    processes: Processes = ALONE,
) -> list[dict[str, Any]]:
    """Checks everything that is wanted, then measures what is not there yet.

    Args:
        subject: What is measured.
        asked: How much of it, and how.
        wanted: Names of kinds; of several, those that lack something are left out, with a note.
        given: The options of the command that measures the same again, by name; see `command_line`.
        again: Whether to measure again what is there.
        processes: That divide the work.

    Returns:
        Of each kind: the path of its evidence, the summary, and the seconds of computation.

    Raises:
        LapeError: Something is wrong with one of them; nothing was measured.
    """
    out = subject.evidence_folder
    if len(wanted) > 1:
        reasons = {name: KINDS[name].missing(subject, asked) for name in wanted}
        for name, reason in reasons.items():
            if reason and KINDS[name].expected and processes.first:
                _note(f"{name} is left out: {reason}")
        wanted = [name for name in wanted if not reasons[name]]
    for name in wanted:
        KINDS[name].plan(subject, asked)  # what is wrong with the last is said before the first takes an hour
    done = []
    for name in wanted:
        work = KINDS[name].plan(subject, asked)  # how to steer may have been chosen meanwhile
        there = processes.gathered(processes.first and measured_before(name, work, out) and not again)[0]
        if not there:
            device = str(input_device(subject.loaded[0])) if KINDS[name].runs_model else "cpu"
            run(name, work, out, command=command_line(KINDS[name], given), device=device, processes=processes)
        elif processes.first:
            _note(f"{out / name}.json has these figures already (lape evaluate --again measures them again).")
        found = read_evidence(out, [])[name] if processes.first else {}
        told = {"path": str(out / f"{name}.json"), "summary": found.get("summary"), "seconds": found.get("seconds")}
        done.append(processes.gathered(told)[0])
    return done


def command_line(kind: Kind, given: Mapping[str, Any]) -> str:
    """The command line that measures the same again, defaults written out, with no folder of this machine.

    Args:
        kind: Of evidence.
        given: Options by name; those left out, None and empty are not written.
    """
    words = kind.command.split()
    for name in (*OF_ALL, *kind.options):
        value = given.get(name)
        several = value if name in ("compare", "strengths") else [value]
        for each in several or ():
            if each not in (None, []):
                words += [f"--{name.replace('_', '-')}", _shown(each)]
    return shlex.join(words)


def _shown(value: object) -> str:
    """A value as it is written on the command line; a folder outside of the working one by its own name."""
    if isinstance(value, tuple):
        return f"{value[0]}={_shown(value[1])}"
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Path(text).name if Path(text).is_absolute() or text.startswith("../") else text


def _note(text: str) -> None:
    print(f"lape: note: {text}", file=sys.stderr)
