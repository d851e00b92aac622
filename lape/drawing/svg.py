"""What every SVG picture is made of: its frame, texts, rectangles, numbers, and titles for those who do not see it."""

from __future__ import annotations

from html import escape
from math import sqrt


def svg_open(width: float, height: float, label: str) -> str:
    """The opening tag of a picture inside a page.

    Args:
        width: In pixels.
        height: In pixels.
        label: What it shows, for those who do not see it.
    """
    size = f'width="{coordinate(width)}" height="{coordinate(height)}"'
    box = f"0 0 {coordinate(width)} {coordinate(height)}"
    return f'<svg viewBox="{box}" {size} role="img" aria-label="{escape(label)}">'


def svg_text(x: float, y: float, text: str, style: str = "") -> str:
    """A text, with CSS classes."""
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{coordinate(x)}" y="{coordinate(y)}">{escape(text)}</text>'


def svg_rect(style: str, x: float, y: float, width: float, height: float, more: str = "") -> str:
    """A rectangle, with CSS classes and further attributes."""
    place = f'x="{coordinate(x)}" y="{coordinate(y)}" width="{coordinate(width)}" height="{coordinate(height)}"'
    return f'<rect class="{style}" {place}{f" {more}" if more else ""}/>'


def svg_titled(title: str, *parts: str, style: str = "") -> str:
    """Parts that say what they are when they are pointed at."""
    named = f' class="{style}"' if style else ""
    return "\n".join([f"<g{named}><title>{escape(title)}</title>", *parts, "</g>"])


def coordinate(value: float) -> str:
    """A number of a picture: at most two decimals, as short as can be.

    Example:
        >>> coordinate(2.0), coordinate(1.255)
        ('2', '1.25')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def count_shade(count: float, most: float) -> float:
    """How strong a cell is, from 0 to 1: by the square root, so that single neurons can be seen beside hundreds."""
    return 0.12 + 0.88 * sqrt(count / most) if count else 0.0
