"""What the Find neurons tab shows of a run, as HTML in which every variable is escaped; and its files as one zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from babel.numbers import format_percent

from lape.demo.find.finding import Counted
from lape.demo.languages import name_of, names_listed
from lape.demo.status import beside, facts, status
from lape.demo.words import number, say, tongue
from lape.evaluation.metrics.reliability import FEW_TOKENS, Reliability
from lape.masks.mask import NeuronMask
from lape.masks.summaries import mask_path
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import MASK_NAME, STATISTICS_NAME, SUMMARY_NAME

TOP_LAYERS = 3
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


def progress(counted: Counted) -> str:
    """How far a run is, and how long it will take."""
    done, of = counted.total_tokens, counted.total_of_tokens
    texts = [
        say("finding.of_language", language=name_of(counted.language), count=counted.tokens[counted.language]),
        say("finding.of_all", done=done, total=of),
    ]
    if counted.seconds_left is not None:
        texts.append(say("finding.rate", rate=round(counted.tokens_per_second)))
        texts.append(say("finding.left", time=_duration(counted.seconds_left)))
    bar = f'class="lape-progress" value="{done}" max="{of}" aria-label="{escape(say("finding.bar"))}"'
    return status(beside(*texts)) + f"<progress {bar}></progress>"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return say("said.seconds", number=round(seconds))
    return say("said.minutes", number=round(seconds / 60))


def table(mask: NeuronMask, statistics: ActivationStatistics) -> str:
    """Tokens, neurons and top layers of each language."""
    rows = []
    for code in mask.languages:
        counts = number(statistics.tokens[code]), number(mask.count(code))
        cells = (name_of(code), *counts, _top_layers(mask, code))
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    heads = (say(f"finding.head_{name}") for name in ("language", "tokens", "neurons", "layers"))
    head = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(rows)
    return f'<div class="lape-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _top_layers(mask: NeuronMask, code: str) -> str:
    """The layers with most of a language's neurons, and how many each has."""
    counts = mask.per_layer(code)
    first = sorted(range(len(counts)), key=lambda layer: -counts[layer])[:TOP_LAYERS]
    return ", ".join(f"{layer}\N{NO-BREAK SPACE}({number(counts[layer])})" for layer in first if counts[layer]) or "–"


def stands_on(statistics: ActivationStatistics, foot: Reliability) -> str:
    """What the mask stands on, and a warning when it is little."""
    block = statistics.metadata["block"]
    points = number(100 * foot.standard_error, 1)
    texts = [
        say("finding.block", block=block),
        say("finding.precision", bar=format_percent(foot.bar, locale=tongue()), points=points),
    ]
    if foot.agreement is not None:
        texts.append(say("finding.agreement", agreement=number(foot.agreement, 2)))
    shown = facts(*texts)
    if foot.few:
        shown += status(say("finding.few", count=foot.tokens, enough=FEW_TOKENS), failed=True)
    return shown


def unread(codes: Sequence[str]) -> str:
    """Which languages were not reached, in a sentence; empty when there are none."""
    return say("finding.unread", languages=names_listed(codes)) if codes else ""


def silent(mask: NeuronMask) -> str:
    """Which languages ended without a neuron, in a sentence; empty when there are none."""
    codes = [code for code in mask.languages if not mask.count(code)]
    return say("finding.silent", languages=names_listed(codes)) if codes else ""


def zipped(folder: Path, statistics: ActivationStatistics, mask: NeuronMask | None) -> Path:
    """Writes a zip with `<org>--<model>/<method>/` in it, as in `precomputed/`; the same values give the same bytes.

    Args:
        folder: Where to.
        statistics: Of the run.
        mask: Identified from them; None when there is none.
    """
    model = str(statistics.metadata["model"])
    method = str(mask.metadata["method"]) if mask is not None else "statistics"
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(model).name).strip(".-") or "model"
    target = folder / f"{slug}-{method}.zip"
    inside = mask_path(model, method) if re.fullmatch(r"[\w.-]+/[\w.-]+", model) else f"{slug}/{method}"
    with TemporaryDirectory(dir=folder) as made, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        statistics.save(Path(made) / STATISTICS_NAME)
        if mask is not None:
            mask.save(made)
        for name in (STATISTICS_NAME, MASK_NAME, SUMMARY_NAME):
            if (Path(made) / name).is_file():
                archive.writestr(zipfile.ZipInfo(f"{inside}/{name}", ZIP_DATE), (Path(made) / name).read_bytes())
    return target
