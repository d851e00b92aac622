"""A mask in one line, and as a picture for its card and for notebooks: no plotting library, no user interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lape.drawing.html import picture_html
from lape.drawing.layers import layers_in_words, layers_svg
from lape.drawing.words import named
from lape.languages import by_family
from lape.masks.indices import size_text
from lape.storage.brief import listed, on_one_line

if TYPE_CHECKING:
    from lape.masks.mask import NeuronMask

MODEL_CHARACTERS = 80
_HEADING = "Neurons per layer and language"


def mask_text(mask: NeuronMask) -> str:
    """A mask in one line: model, method, how many neurons each language has, shape.

    Example:
        >>> import torch
        >>> from lape import NeuronMask
        >>> NeuronMask({"fr": torch.tensor([[0, 3], [1, 2]])}, {}, (2, 4), {"model": "org/tiny", "method": "lape"})
        <NeuronMask of org/tiny by lape: fr 2; 1 language, 2 layers x 4 neurons>
    """
    of = f" of {on_one_line(mask.metadata['model'])[:MODEL_CHARACTERS]}" if mask.metadata.get("model") else ""
    by = f" by {on_one_line(mask.metadata['method'])[:MODEL_CHARACTERS]}" if mask.metadata.get("method") else ""
    counts = listed([f"{code} {mask.count(code):,}" for code in mask.languages])
    languages = f"{len(mask.languages)} language{'' if len(mask.languages) == 1 else 's'}"
    return f"<NeuronMask{of}{by}: {counts}; {languages}, {size_text(mask.shape, mask.experts)}>"


def mask_svg(mask: NeuronMask) -> str:
    """A heat map of how many neurons each language has in each layer; nothing in it is markup of the mask's.

    Args:
        mask: Any mask.

    Returns:
        A self-contained SVG; the same mask gives the same text.
    """
    counts = {on_one_line(named(code)): mask.per_layer(code) for code in by_family(mask.languages)}
    model = on_one_line(mask.metadata.get("model", "a model"))[:MODEL_CHARACTERS]
    about = f"{size_text(mask.shape, mask.experts)}. {layers_in_words(counts)}"
    return layers_svg(counts, title=f"{_HEADING}: {model}", heading=_HEADING, about=about)


def mask_html(mask: NeuronMask) -> str:
    """The same picture for a notebook, below the mask in one line."""
    return picture_html(mask_svg(mask), mask_text(mask))
