"""What the Find neurons tab shows of a run, as HTML in which every variable is escaped; and its files as one zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from lape.demo.find.finding import Counted
from lape.demo.status import facts, status
from lape.evaluation.metrics.reliability import FEW_TOKENS, Reliability
from lape.languages import language
from lape.masks.mask import NeuronMask
from lape.masks.summaries import mask_path
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import MASK_NAME, STATISTICS_NAME, SUMMARY_NAME

TOP_LAYERS = 3
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


def progress(counted: Counted) -> str:
    """How far a run is, and how long it will take."""
    done, of = counted.total_tokens, counted.total_of_tokens
    text = f"{language(counted.language).name}: {counted.tokens[counted.language]:,} tokens"
    text += f" · {done:,} of {of:,} in all"
    if counted.seconds_left is not None:
        text += f" · {counted.tokens_per_second:,.0f} tokens/s · about {_duration(counted.seconds_left)} left"
    return status(text) + f'<progress class="lape-progress" value="{done}" max="{of}" aria-label="Counted"></progress>'


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def table(mask: NeuronMask, statistics: ActivationStatistics) -> str:
    """Tokens, neurons and top layers of each language."""
    rows = []
    for code in mask.languages:
        cells = (language(code).title, f"{statistics.tokens[code]:,}", f"{mask.count(code):,}", _top_layers(mask, code))
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    heads = ("Language", "Tokens", "Neurons", "Layers with most")
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(rows)
    return f'<div class="lape-table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _top_layers(mask: NeuronMask, code: str) -> str:
    """The layers with most of a language's neurons, and how many each has."""
    counts = mask.per_layer(code)
    first = sorted(range(len(counts)), key=lambda layer: -counts[layer])[:TOP_LAYERS]
    return ", ".join(f"{layer}\N{NO-BREAK SPACE}({counts[layer]:,})" for layer in first if counts[layer]) or "–"


def stands_on(statistics: ActivationStatistics, foot: Reliability) -> str:
    """What the mask stands on, and a warning when it is little."""
    block = statistics.metadata["block"]
    texts = [
        f"Blocks of {block} tokens: what a token is seen in",
        f"A probability of {foot.bar:.0%} is known to ±{100 * foot.standard_error:.1f} points (standard error)",
    ]
    if foot.agreement is not None:
        texts.append(f"Masks of the two halves of the text agree at {foot.agreement:.2f} (Jaccard, 1 is the same)")
    shown = facts(*texts)
    if foot.few:
        shown += status(
            f"Only {foot.tokens:,} tokens of the shortest language: below about {FEW_TOKENS:,}, much of a mask is "
            "chance, and another text would give other neurons. Add text before you trust it.",
            failed=True,
        )
    return shown


def unread(codes: Sequence[str]) -> str:
    """Which languages were not reached, as a sentence to add; empty when there are none."""
    return f" Nothing was counted of {_names(codes)}." if codes else ""


def silent(mask: NeuronMask) -> str:
    """Which languages ended without a neuron, as a sentence to add; empty when there are none."""
    codes = [code for code in mask.languages if not mask.count(code)]
    return f" No neuron was found for {_names(codes)}." if codes else ""


def _names(codes: Sequence[str]) -> str:
    return ", ".join(language(code).name for code in codes)


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
