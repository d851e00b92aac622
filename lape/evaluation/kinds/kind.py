"""What a kind of evidence is: one record that says how it is measured and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lape.drawing.html import Table
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.storage.schema import Form

Evidence = Mapping[str, Any]
Need = Callable[[Subject, Options], str | None]


@dataclass(frozen=True)
class Headline:
    """The main figure of some evidence, in words: a row of the table that sums up all kinds.

    Attributes:
        what: Was measured.
        figure: With its interval where it has one.
        against: What to hold it against: its control, or what would be seen without any effect.
    """

    what: str
    figure: str
    against: str


@dataclass(frozen=True)
class Kind:
    """One kind of evidence.

    Attributes:
        name: Of the kind, and of its file, `<name>.json`.
        heading: Over its section.
        command: That measures it.
        options: Of the command that decide its results, by name.
        needs: What must be there: each says why the kind cannot be measured here, or None.
        plan: Checks everything and gives the work; computes nothing.
        form: Of its evidence, which may come from anybody.
        section: What a report shows of it, as HTML.
        tables: What `EVIDENCE.md` shows of it.
        headline: Its row in the table that sums up all kinds.
        panel: What the page's Measure tab unfolds; None shows nothing there.
        runs_model: Whether measuring runs the model.
        expected: Whether it is said where it was not measured; False for what few masks can be measured by.
    """

    name: str
    heading: str
    command: str
    options: tuple[str, ...]
    plan: Callable[[Subject, Options], Work]
    form: Form
    section: Callable[[Evidence], list[str]]
    tables: Callable[[Evidence], list[Table]]
    headline: Callable[[Evidence], Headline]
    panel: Callable[[Evidence], list[str]] | None = None
    needs: tuple[Need, ...] = ()
    runs_model: bool = True
    expected: bool = True

    def missing(self, subject: Subject, options: Options) -> str | None:
        """Why the kind cannot be measured here, or None."""
        return next(filter(None, (need(subject, options) for need in self.needs)), None)


def held_out_text(subject: Subject, options: Options) -> str | None:
    """Needs a corpus."""
    return None if subject.corpora else "it is measured on held-out text; name it with --corpus."


def groups_of_blocks(subject: Subject, options: Options) -> str | None:
    """Needs a recording that kept groups."""
    if subject.groups is None:
        return "there are no groups of blocks beside the mask; record with --groups 16."
    return None


def means_of_all(subject: Subject, options: Options) -> str | None:
    """Needs a mask that can switch every language on."""
    if set(subject.mask.languages) - set(subject.mask.means):
        return "the mask has no mean activations for some languages; make them with `lape calibrate`."
    return None


def source_in_mask(subject: Subject, options: Options) -> str | None:
    """Needs the language that is steered from."""
    if options.source not in subject.mask.languages:
        return f"{options.source!r} is not in the mask; name another language with --source."
    return None
