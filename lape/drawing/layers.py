"""Neurons of each label in each layer, as a picture that stands alone and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from lape.drawing.svg import coordinate, count_shade, svg_rect, svg_text

# A picture in a page cannot ask for the page's colours, so it brings both schemes, with their backgrounds.
_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: #1f2328; }
.back { fill: #ffffff; } .row { fill: #eef1f4; } .cell { fill: #0b57b8; }
.dim { fill: #59636e; } .head { font-size: 14px; font-weight: 600; } .end { text-anchor: end; }
.mid { text-anchor: middle; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .back { fill: #0d1117; } .row { fill: #1b222c; } .cell { fill: #79b8ff; }
.dim { fill: #9aa4af; }
}
""".strip()
_LEFT, _RIGHT, _TOP, _ROW, _GAP = 152, 64, 50, 20, 2
_PLOT, _NARROWEST = 720, 260
_NAME = 20  # characters that have room


def layers_svg(counts: Mapping[str, Sequence[int]], *, title: str, heading: str, about: str) -> str:
    """A heat map of how many neurons each label has in each layer, with the sums at the right.

    Args:
        counts: Label to neurons of each layer; all have the same layers, at least one.
        title: Of the picture, for those who do not see it.
        heading: Written above it.
        about: What it shows, in words.

    Returns:
        A self-contained SVG that follows the reader's light or dark scheme; the same counts give the same text.
    """
    layers = len(next(iter(counts.values())))
    step = max(2.0, min(24.0, _PLOT / layers))
    plot = step * layers
    bottom = _TOP + _ROW * len(counts)
    width, height = max(_NARROWEST + _LEFT, round(_LEFT + plot + _RIGHT)), bottom + 58
    most = max(max(row) for row in counts.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(about)}</desc>',
        f"<style>{_STYLE}</style>",
        svg_rect("back", 0, 0, width, height),
        svg_text(_LEFT, 22, heading, "head"),
        svg_text(_LEFT + plot + 12, _TOP - 8, "all", "dim"),
    ]
    for place, (name, row) in enumerate(counts.items()):
        parts += _row(name, row, _TOP + place * _ROW, step, most)
    parts += _axis(layers, step, bottom)
    parts += _key(most, bottom + 32)
    return "\n".join([*parts, "</svg>", ""])


def layers_in_words(counts: Mapping[str, Sequence[int]]) -> str:
    """How many neurons each label has, and in which layer most.

    Example:
        >>> layers_in_words({"French": [1, 3], "Spanish": [0, 0]})
        'French: 4 neurons, most in layer 1; Spanish: 0 neurons.'
    """
    said = [
        f"{name}: {sum(row):,} neurons" + (f", most in layer {row.index(max(row))}" if any(row) else "")
        for name, row in counts.items()
    ]
    return f"{'; '.join(said)}."


def _row(name: str, counts: Sequence[int], top: float, step: float, most: int) -> list[str]:
    """One label: its name, a bar of cells, its sum."""
    gap = 1 if step >= 6 else 0
    height = _ROW - _GAP
    drawn = [
        svg_text(_LEFT - 10, top + 13.5, name if len(name) <= _NAME else f"{name[: _NAME - 1]}…", "end"),
        svg_rect("row", _LEFT, top, step * len(counts) - gap, height),
    ]
    drawn += [
        _cell(_LEFT + layer * step, top, step - gap, height, count, most) for layer, count in enumerate(counts) if count
    ]
    return [*drawn, svg_text(_LEFT + step * len(counts) + 12, top + 13.5, f"{sum(counts):,}")]


def _axis(layers: int, step: float, bottom: float) -> list[str]:
    """Layer numbers under the cells, from 0, never closer than 30 pixels, the last one always."""
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000) if size * step >= 30 or size >= layers)
    marked = [layer for layer in range(0, layers, every) if layer + every / 2 < layers - 1 or layer == 0]
    shown = dict.fromkeys([*marked, layers - 1])
    numbers = [svg_text(_LEFT + (layer + 0.5) * step, bottom + 14, str(layer), "dim mid") for layer in shown]
    return [*numbers, svg_text(_LEFT - 10, bottom + 14, "layer", "dim end")]


def _key(most: int, top: float) -> list[str]:
    """What the shades mean."""
    steps = sorted({0, *(count for count in (1, most // 4, most) if 0 < count <= most)})
    drawn = [svg_text(_LEFT - 10, top + 12, "neurons in a layer", "dim end")]
    for place, count in enumerate(steps):
        left = _LEFT + place * 64
        drawn.append(svg_rect("row", left, top, 20, 16))
        if count:
            drawn.append(_cell(left, top, 20, 16, count, most))
        drawn.append(svg_text(left + 27, top + 12, f"{count:,}", "dim"))
    return drawn


def _cell(x: float, y: float, width: float, height: float, count: int, most: int) -> str:
    return svg_rect("cell", x, y, width, height, f'opacity="{coordinate(count_shade(count, most))}"')
