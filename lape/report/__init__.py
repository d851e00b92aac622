"""One page, `EVIDENCE.md` and a README's table, from files of evidence alone: no figure is typed by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lape.drawing.html import Table, notice, notices, paragraph, plain
from lape.drawing.words import seconds_text
from lape.errors import BadFile, leave_out
from lape.evaluation.kinds import KINDS, Evidence, Kind
from lape.report.found import evidence_of, read
from lape.report.page import page
from lape.sharing.readme import Marks, with_part
from lape.storage.placing import atomic_write

MARKS: Marks = ("<!-- lape:evidence:begin -->", "<!-- lape:evidence:end -->")


def write_page(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes the page of a folder of evidence as one HTML file that needs nothing else.

    Raises:
        BadFile: There is no evidence, or a file is damaged or of another version.
    """
    return _write(path, html_of(*_evidence(folder)))


def write_readme(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Renews the table of main figures between the marks of a README; the rest stays byte for byte.

    A README with tables of several masks has marks with their names, see `marks_of`.

    Raises:
        BadFile: The README lacks the marks, there is no evidence, or a file is damaged or of another version.
    """
    file = Path(path)
    if not file.is_file():
        raise BadFile(f"There is no file {str(path)!r}.")
    with file.open(encoding="utf-8", newline="") as opened:
        text = opened.read()
    found = _evidence(folder)[0]
    own = marks_of(found)
    return _write(path, with_part(text, headlines(found).markdown(), own if own[0] in text else MARKS))


def marks_of(found: Mapping[str, Evidence]) -> Marks:
    """The marks with the name of the mask that evidence is of.

    Example:
        `<!-- lape:evidence:begin google/gemma-3-270m lape -->`
    """
    mask = next(iter(found.values()))["settings"]["mask"]
    begin, end = (mark.replace(" -->", f" {mask['model']} {mask['method']} -->") for mark in MARKS)
    return begin, end


def write_tables(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes all tables of a folder of evidence as Markdown, usually `EVIDENCE.md` beside the mask.

    Raises:
        BadFile: There is no evidence, or a file is damaged or of another version.
    """
    return _write(path, markdown_of(*_evidence(folder)) + "\n")


def html_of(found: Mapping[str, Evidence], left_out: Sequence[str] = ()) -> str:
    """The page of some evidence by kind, and why other files are left out."""
    first = next(iter(found.values()))["settings"]["mask"]
    parts: list[tuple[str, str, list[str]]] = [
        ("results", "What came out", [headlines(found).html(), *notices(_said(left_out)), *_summaries(found)]),
    ]
    for name, kind in _listed(found):
        shown = read(name, found[name], kind.section) if name in found else [notice(_missing(kind))]
        parts.append((name, kind.heading, shown))
    parts.append(("made", "How it was measured", [show(found).html() for show in (made, versions, texts)]))
    lead = f"Neurons of {first['model']} found by the method {first['method']}: what switching them does."
    return page(f"Language neurons of {first['model']}", lead, parts)


def markdown_of(found: Mapping[str, Evidence], left_out: Sequence[str] = ()) -> str:
    """All tables as Markdown, with what each shows, and why other files are left out."""
    mask = next(iter(found.values()))["settings"]["mask"]
    blocks = [
        f"# Evidence: {plain(mask['model'])}, {plain(str(mask['method']))}",
        "What switching the neurons of this mask does, measured on text and openings that nothing was chosen on unless "
        "it says so. The command lape report makes this page from the files in evidence; no figure is typed by hand.",
        headlines(found).markdown(),
        *map(plain, _said(left_out)),
    ]
    for name, kind in _listed(found):
        blocks.append(f"## {kind.heading}")
        if name not in found:
            blocks.append(_missing(kind))
            continue
        blocks.append(plain(found[name]["summary"]))
        for table in read(name, found[name], kind.tables):
            blocks += [f"{plain(table.caption)}:", table.markdown()]
    blocks += ["## How it was measured", made(found).markdown(), versions(found).markdown(), texts(found).markdown()]
    return "\n\n".join(blocks)


def headlines(found: Mapping[str, Evidence]) -> Table:
    """The main figure of each kind, and what to hold it against."""
    rows = []
    for name, kind in _listed(found):
        if name in found:
            headline = read(name, found[name], kind.headline)
            rows.append([headline.what, headline.figure, headline.against])
        else:
            rows.append([kind.heading, f"not measured: {kind.command}", ""])
    return Table("The main figures", ["what", "figure", "to hold it against"], rows, words=3)


def made(found: Mapping[str, Evidence]) -> Table:
    """Commands and times."""
    rows = [[kind, found[kind]["command"], seconds_text(found[kind]["seconds"])] for kind in KINDS if kind in found]
    total = sum(each["seconds"] for each in found.values())
    rows.append(["all", "", seconds_text(total)])
    return Table(
        "Commands and times", ["evidence", "command", "time"], rows, words=2, strong=frozenset({len(rows) - 1})
    )


def versions(found: Mapping[str, Evidence]) -> Table:
    """What it was measured with; a row for each different environment."""
    by_kind = {kind: found[kind]["environment"] for kind in KINDS if kind in found}
    rows = []
    for environment in [
        each for place, each in enumerate(by_kind.values()) if each not in list(by_kind.values())[:place]
    ]:
        kinds = [kind for kind, each in by_kind.items() if each == environment]
        packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
        rows.append(
            [
                ", ".join(kinds) if len(kinds) < len(by_kind) else "all",
                f"lape {environment['lape']}, Python {environment['python']}, {packages}",
                f"{environment['platform']}, {environment['device']}, {environment['threads']} threads",
            ]
        )
    return Table("Versions and machine", ["evidence", "versions", "machine"], rows, words=3)


def texts(found: Mapping[str, Evidence]) -> Table:
    """The mask and the texts, by their hashes."""
    (mask,) = {each["settings"]["mask"]["sha256"] for each in found.values()}
    rows = [["all", "mask", mask, ""]]
    for kind in (kind for kind in KINDS if kind in found):
        for code, text in found[kind]["settings"].get("corpora", {}).items():
            digest = text.get("sha256") or text.get("questions_sha256", "")
            tokens = f"{text['tokens']:,} tokens" if "tokens" in text else ""
            rows.append([kind, f"{code}: {text['source']}", digest, tokens])
    return Table("Mask and held-out text, by SHA-256", ["evidence", "what", "SHA-256", ""], rows, words=4)


def _evidence(folder: str | os.PathLike[str]) -> tuple[dict[str, Evidence], list[str]]:
    """The evidence of a folder that can be shown, and why other files are left out, of which it warns."""
    left_out: list[str] = []
    found = evidence_of(folder, None, left_out)
    if not found:
        raise BadFile(" ".join([f"There is no evidence in {str(folder)!r}. `lape evaluate` makes it.", *left_out]))
    masks = {each["settings"]["mask"]["sha256"] for each in found.values()}
    if len(masks) > 1:
        raise BadFile(
            f"The evidence in {str(folder)!r} is of {len(masks)} different masks. Measure again what is of an old one."
        )
    for reason in left_out:
        leave_out("Evidence", reason, None)
    return found, left_out


def _summaries(found: Mapping[str, Evidence]) -> list[str]:
    return [paragraph(f"{found[kind]['title']}. {found[kind]['summary']}") for kind in KINDS if kind in found]


def _said(left_out: Sequence[str]) -> list[str]:
    return [f"Left out: {reason}" for reason in left_out]


def _listed(found: Mapping[str, Evidence]) -> list[tuple[str, Kind]]:
    """The kinds that were measured, and those of which it is said that they were not."""
    return [(name, kind) for name, kind in KINDS.items() if name in found or kind.expected]


def _missing(kind: Kind) -> str:
    return f"Not measured: {kind.command} does that."


def _write(path: str | os.PathLike[str], text: str) -> Path:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    return Path(path)
