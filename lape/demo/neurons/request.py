"""What a visitor asks of the Neurons tab, checked: the raw API can send any JSON value in any place."""

from __future__ import annotations

from lape.demo.checks import PROMPT_CHARACTERS, Limit, checked_number, checked_text, shown_value
from lape.errors import LapeError
from lape.inspection.table import SORTS

ALL_LAYERS = -1  # in the menu of layers
TEXT_TOKENS = 1024  # about 3 s of a CPU, during which the model is nobody else's


def text_to_color(text: object) -> str:
    """A text to color.

    Raises:
        LapeError: It is not text, empty, or too long.
    """
    if not (found := checked_text("text", text, PROMPT_CHARACTERS)).strip():
        raise LapeError("The text is empty; write something to look at.")
    return found


def checked_sort(sort: object) -> str:
    """An order of the table.

    Raises:
        LapeError: There is none of that name.
    """
    if not isinstance(sort, str) or sort not in SORTS:
        raise LapeError(f"The order must be one of {', '.join(SORTS)}, not {shown_value(sort)}.")
    return sort


def checked_layer(layer: object, layers: int) -> int | None:
    """A layer of the model, or None for all of them.

    Raises:
        LapeError: It is no whole number, or outside the model.
    """
    if layer is None or layer == ALL_LAYERS:
        return None
    return int(checked_number(Limit("Layer", 0, layers - 1, 1, whole=True), layer))


def whole(value: object) -> object:
    """A number that the browser sends as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value


def checked_neuron(layer: object, neuron: object, shape: tuple[int, int]) -> tuple[int, int]:
    """A neuron of the model.

    Raises:
        LapeError: Its layer or its number is no whole number, or outside the model.
    """
    sizes = {"Layer": (layer, shape[0]), "Neuron": (neuron, shape[1])}
    at = (checked_number(Limit(what, 0, size - 1, 1, whole=True), value) for what, (value, size) in sizes.items())
    return int(next(at)), int(next(at))
