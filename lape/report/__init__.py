"""One page and the tables of a README, from files of evidence alone: no figure is typed by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lape.drawing.charts import number
from lape.drawing.html import Table, notice, paragraph, plain
from lape.drawing.words import percent, seconds_text, verdict
from lape.errors import BadFile
from lape.evaluation.kinds import harm, layers, perplexity, stability, steering, tuning
from lape.evaluation.runs.evidence import read_evidence
from lape.report.page import page
from lape.storage.files import atomic_write

BEGIN, END = "<!-- lape:evidence:begin -->", "<!-- lape:evidence:end -->"
_MARKS = re.compile(rf"^({re.escape(BEGIN)}|{re.escape(END)})[ \t]*\r?$", re.MULTILINE)

Evidence = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """How one kind of evidence is shown.

    Attributes:
        heading: Over it.
        parts: Gives what the page shows.
        readme: Gives the tables of a README.
        command: That measures it.
    """

    heading: str
    parts: Callable[[Evidence], list[str]]
    readme: Callable[[Evidence], list[Table]]
    command: str


SECTIONS = {
    "layers": Section(layers.HEADING, layers.parts, layers.readme, "lape evaluate layers"),
    "perplexity": Section(perplexity.HEADING, perplexity.parts, perplexity.readme, "lape evaluate perplexity"),
    "tuning": Section(tuning.HEADING, tuning.parts, tuning.readme, "lape tune"),
    "steering": Section(steering.HEADING, steering.parts, steering.readme, "lape evaluate steering"),
    "stability": Section(stability.HEADING, stability.parts, stability.readme, "lape evaluate stability"),
    "harm": Section(harm.HEADING, harm.parts, harm.readme, "lape evaluate harm"),
}


def write_page(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes the page of a folder of evidence as one HTML file that needs nothing else.

    Raises:
        BadFile: There is no evidence, or a file is damaged or of another version.
    """
    return _write(path, html_of(_evidence(folder)))


def write_readme(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Renews the part of a README between its marks; the rest stays byte for byte.

    Raises:
        BadFile: The README lacks the marks, or as for `write_page`.
    """
    file = Path(path)
    if not file.is_file():
        raise BadFile(f"There is no file {str(path)!r}.")
    with file.open(encoding="utf-8", newline="") as opened:
        text = opened.read()
    return _write(path, readme_with(text, markdown_of(_evidence(folder))))


def evidence_of(folder: str | os.PathLike[str], mask_sha256: str) -> dict[str, Evidence]:
    """The evidence in a folder that is of one mask, by kind; none where there is no such folder.

    Args:
        folder: Usually `evidence` beside the mask.
        mask_sha256: Of the mask's file.

    Raises:
        BadFile: A file is damaged.
    """
    found = read_evidence(folder) if Path(folder).is_dir() else {}
    return {each["kind"]: each for each in found.values() if _mask_sha256(each["settings"]) == mask_sha256}


def html_of(found: Mapping[str, Evidence]) -> str:
    """The page of some evidence by kind."""
    first = next(iter(found.values()))["settings"]["mask"]
    parts: list[tuple[str, str, list[str]]] = [
        ("results", "What came out", [goals(found).html(), *_summaries(found)]),
    ]
    for kind, section in SECTIONS.items():
        shown = read(kind, found[kind], section.parts) if kind in found else [notice(_missing(section))]
        parts.append((kind, section.heading, shown))
    parts.append(("made", "How it was measured", [show(found).html() for show in (made, versions, texts)]))
    lead = f"Neurons of {first['model']} found by the method {first['method']}: what switching them does."
    return page(f"Language neurons of {first['model']}", lead, parts)


def markdown_of(found: Mapping[str, Evidence]) -> str:
    """The tables of a README, with what each shows."""
    blocks = [goals(found).markdown()]
    for kind, section in SECTIONS.items():
        blocks.append(f"### {section.heading}")
        if kind not in found:
            blocks.append(_missing(section))
            continue
        blocks.append(plain(found[kind]["summary"]))
        for table in read(kind, found[kind], section.readme):
            blocks += [f"{plain(table.caption)}:", table.markdown()]
    blocks += ["### How it was measured", made(found).markdown(), versions(found).markdown()]
    return "\n\n".join(blocks)


def readme_with(text: str, part: str) -> str:
    """A README with a part between its marks.

    Raises:
        BadFile: The marks are not there once each, in order.
    """
    marks = list(_MARKS.finditer(text))
    if [mark[1] for mark in marks] != [BEGIN, END]:
        raise BadFile(f"The README must have the lines {BEGIN} and {END}, once each and in this order. Add them.")
    line_break = "\r\n" if "\r\n" in text else "\n"
    middle = f"{BEGIN}\n{part}\n{END}".replace("\n", line_break)
    return text[: marks[0].start()] + middle + text[marks[1].end(1) :]


def goals(found: Mapping[str, Evidence]) -> Table:
    """What was wanted, what came out, and whether that is enough."""
    rows = []
    if "perplexity" in found:
        rows += read("perplexity", found["perplexity"], perplexity.goals)
    else:
        rows += [[name, *perplexity.UNMEASURED] for name in perplexity.GOALS.values()]
    rows.append(_goal("steering with tuned settings: outputs in the target language", "tuning", found, _tuned))
    rows.append(_goal("tokens for a mask that agrees with the whole one's", "stability", found, _stable))
    return Table("What was wanted and what came out", ["figure", "outcome", "measured", "wanted"], rows, words=4)


def made(found: Mapping[str, Evidence]) -> Table:
    """Commands and times."""
    rows = [[kind, found[kind]["command"], seconds_text(found[kind]["seconds"])] for kind in SECTIONS if kind in found]
    total = sum(each["seconds"] for each in found.values())
    rows.append(["all", "", seconds_text(total)])
    return Table(
        "Commands and times", ["evidence", "command", "time"], rows, words=2, strong=frozenset({len(rows) - 1})
    )


def versions(found: Mapping[str, Evidence]) -> Table:
    """What it was measured with; a row for each different environment."""
    by_kind = {kind: found[kind]["environment"] for kind in SECTIONS if kind in found}
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
    for kind in (kind for kind in SECTIONS if kind in found):
        for code, text in found[kind]["settings"].get("corpora", {}).items():
            digest = text.get("sha256") or text.get("questions_sha256", "")
            tokens = f"{text['tokens']:,} tokens" if "tokens" in text else ""
            rows.append([kind, f"{code}: {text['source']}", digest, tokens])
    return Table("Mask and held-out text, by SHA-256", ["evidence", "what", "SHA-256", ""], rows, words=4)


def _mask_sha256(settings: Any) -> Any:
    mask = settings.get("mask") if isinstance(settings, dict) else None
    return mask.get("sha256") if isinstance(mask, dict) else None


def _evidence(folder: str | os.PathLike[str]) -> dict[str, Evidence]:
    found: dict[str, Evidence] = {each["kind"]: each for each in read_evidence(folder).values()}
    if not found:
        raise BadFile(f"There is no evidence in {str(folder)!r}. `lape evaluate` makes it.")
    masks = {each["settings"].get("mask", {}).get("sha256") for each in found.values()}
    if len(masks) > 1:
        raise BadFile(
            f"The evidence in {str(folder)!r} is of {len(masks)} different masks. Measure again what is of an old one."
        )
    return found


def read(kind: str, evidence: Evidence, show: Callable[[Evidence], Any]) -> Any:
    """Shows evidence of a kind.

    Raises:
        BadFile: It is damaged, or not of this version.
    """
    try:
        return show(evidence)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration, ArithmeticError) as error:
        raise BadFile(
            f"The evidence of {kind} cannot be read ({type(error).__name__}: {error}): it is damaged, or of another "
            "version of lape. Measure it again."
        ) from error


def _summaries(found: Mapping[str, Evidence]) -> list[str]:
    return [paragraph(f"{found[kind]['title']}. {found[kind]['summary']}") for kind in SECTIONS if kind in found]


def _missing(section: Section) -> str:
    return f"Not measured: {section.command} does that."


def _goal(name: str, kind: str, found: Mapping[str, Evidence], show: Callable[[Evidence], list[str]]) -> list[str]:
    return [name, *(read(kind, found[kind], show) if kind in found else perplexity.UNMEASURED)]


def _tuned(evidence: Evidence) -> list[str]:
    results = evidence["results"]
    steered = results["tuned"]["averages"]["all"]["conditions"]["steered"]
    cost = steered["fluency_cost_nats"]
    at = f", at {number(cost['value'], 2)} nats per token in fluency" if cost else ""
    measured = percent(steered["target_share"]["value"]) + at
    return [verdict(results), measured, f"at least {percent(results['wanted'])}"]


def _stable(evidence: Evidence) -> list[str]:
    results = evidence["results"]
    parts = [
        f"{number(found['tokens'], 0)} {how}, {percent(found['share'])} of the recording"
        for how, found in (
            ("spread over the text", results["spread_enough"]),
            ("from its beginning", results["enough"]),
        )
        if found["share"] is not None
    ]
    measured = f"{'; '.join(parts) or 'all of them'} (Jaccard index {results['enough']['jaccard']:g})"
    return [verdict(results), measured, f"at most {percent(results['wanted_share'])}"]


def _write(path: str | os.PathLike[str], text: str) -> Path:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    return Path(path)
