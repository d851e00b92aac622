"""Figures from results, as text: no plotting library, no user interface."""

from __future__ import annotations

from html import escape
from math import sqrt

from lape.languages import LANGUAGES
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask

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
_LABEL = 20  # characters


def layers_svg(mask: NeuronMask) -> str:
    """A heat map of how many neurons each language has in each layer, with the sums at the right.

    Args:
        mask: Any mask.

    Returns:
        A self-contained SVG that follows the reader's light or dark scheme; the same mask gives the same text.
    """
    layers = mask.shape[0]
    step = max(2.0, min(24.0, _PLOT / layers))
    plot = step * layers
    bottom = _TOP + _ROW * len(mask.languages)
    width, height = max(_NARROWEST + _LEFT, round(_LEFT + plot + _RIGHT)), bottom + 58
    counts = {code: mask.per_layer(code) for code in mask.languages}
    most = max((max(row) for row in counts.values()), default=0)
    name = f"Neurons per layer and language: {_clean(mask.metadata.get('model', 'a model'), 80)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title desc">',
        f'<title id="title">{name}</title>',
        f'<desc id="desc">{_description(mask, counts)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}"/>',
        f'<text class="head" x="{_LEFT}" y="22">Neurons per layer and language</text>',
        _text(_LEFT + plot + 12, _TOP - 8, "all", "dim"),
    ]
    for place, (code, row) in enumerate(counts.items()):
        parts += _row(code, row, _TOP + place * _ROW, step, most)
    parts += _axis(layers, step, bottom)
    parts += _key(most, bottom + 32)
    return "\n".join([*parts, "</svg>", ""])


def _row(code: str, counts: list[int], top: float, step: float, most: int) -> list[str]:
    """One language: its name, a bar of cells, its sum."""
    gap = 1 if step >= 6 else 0
    height = _ROW - _GAP
    drawn = [
        _text(_LEFT - 10, top + 13.5, _name(code), "end"),
        f'<rect class="row" x="{_LEFT}" y="{top}" width="{_number(step * len(counts) - gap)}" height="{height}"/>',
    ]
    drawn += [
        f'<rect class="cell" x="{_number(_LEFT + layer * step)}" y="{top}" width="{_number(step - gap)}" '
        f'height="{height}" opacity="{_shade(count, most)}"/>'
        for layer, count in enumerate(counts)
        if count
    ]
    return [*drawn, _text(_LEFT + step * len(counts) + 12, top + 13.5, f"{sum(counts):,}")]


def _axis(layers: int, step: float, bottom: float) -> list[str]:
    """Layer numbers under the cells, from 0, never closer than 30 pixels, the last one always."""
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000) if size * step >= 30 or size >= layers)
    marked = [layer for layer in range(0, layers, every) if layer + every / 2 < layers - 1 or layer == 0]
    shown = dict.fromkeys([*marked, layers - 1])
    numbers = [_text(_LEFT + (layer + 0.5) * step, bottom + 14, str(layer), "dim mid") for layer in shown]
    return [*numbers, _text(_LEFT - 10, bottom + 14, "layer", "dim end")]


def _key(most: int, top: float) -> list[str]:
    """What the shades mean; the scale is a square root, so that single neurons can be seen beside hundreds."""
    steps = sorted({0, *(count for count in (1, most // 4, most) if 0 < count <= most)})
    drawn = [_text(_LEFT - 10, top + 12, "neurons in a layer", "dim end")]
    for place, count in enumerate(steps):
        left = _LEFT + place * 64
        drawn.append(f'<rect class="row" x="{left}" y="{top}" width="20" height="16"/>')
        if count:
            drawn.append(
                f'<rect class="cell" x="{left}" y="{top}" width="20" height="16" opacity="{_shade(count, most)}"/>'
            )
        drawn.append(_text(left + 27, top + 12, f"{count:,}", "dim"))
    return drawn


def _description(mask: NeuronMask, counts: dict[str, list[int]]) -> str:
    """The picture in words, for those who do not see it."""
    rows = [
        f"{_name(code)}: {sum(row):,} neurons" + (f", most in layer {row.index(max(row))}" if any(row) else "")
        for code, row in counts.items()
    ]
    return f"{size_text(mask.shape)}. {'; '.join(rows)}."


def _shade(count: int, most: int) -> str:
    return _number(0.12 + 0.88 * sqrt(count / most))


def _text(x: float, y: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{_number(x)}" y="{_number(y)}">{text}</text>'


def _name(code: str) -> str:
    """English name and code of a language that is known, else the label; never markup."""
    return _clean(f"{LANGUAGES[code].name} ({code})" if code in LANGUAGES else code, _LABEL)


def _clean(value: object, longest: int) -> str:
    """Text of a file on one line, without control characters, cut, and safe between tags."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return escape(text if len(text) <= longest else text[: longest - 1] + "…")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
