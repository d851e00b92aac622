"""The picture of a mask for its card: no plotting library, no user interface."""

from __future__ import annotations

from lape.drawing.layers import layers_in_words, layers_svg
from lape.drawing.words import named
from lape.languages import by_family
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask

MODEL_CHARACTERS = 80
_HEADING = "Neurons per layer and language"


def mask_svg(mask: NeuronMask) -> str:
    """A heat map of how many neurons each language has in each layer; nothing in it is markup of the mask's.

    Args:
        mask: Any mask.

    Returns:
        A self-contained SVG; the same mask gives the same text.
    """
    counts = {_name(code): mask.per_layer(code) for code in by_family(mask.languages)}
    model = _on_one_line(mask.metadata.get("model", "a model"))[:MODEL_CHARACTERS]
    about = f"{size_text(mask.shape, mask.experts)}. {layers_in_words(counts)}"
    return layers_svg(counts, title=f"{_HEADING}: {model}", heading=_HEADING, about=about)


def _name(code: str) -> str:
    """English name and code of a language that is known, else the label."""
    return _on_one_line(named(code))


def _on_one_line(value: object) -> str:
    """Text of a file without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value))
