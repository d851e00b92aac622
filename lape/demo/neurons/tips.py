"""What a token of a colored text tells: the languages of highest level, and which neurons fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lape.demo.languages import name_of
from lape.demo.words import say
from lape.inspection.activations import Activations
from lape.inspection.firing import Fired, active_names, most_specific
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics

LANGUAGES = 3  # of a token
NAMES = 4  # of neurons


@dataclass(frozen=True)
class Tip:
    """What one piece of a text tells.

    Attributes:
        text: A line.
        neuron: The name of the most specific neuron that fires there; None where no language stands out.
    """

    text: str
    neuron: str | None


def tips(
    pieces: Sequence[Fired], seen: Activations, mask: NeuronMask, statistics: ActivationStatistics | None
) -> list[Tip]:
    """A tip for each piece of a text.

    Args:
        pieces: Of `firing`.
        seen: Activations of all of the mask's neurons.
        mask: What they are neurons of.
        statistics: Recorded beside it; None where there are none.
    """
    ordered = most_specific(mask, statistics)
    found = {piece.language for piece in pieces if piece.language is not None}
    names = {code: active_names(seen, ordered[code], mask) for code in found}
    return [_tip(piece, names[piece.language][at] if piece.language else []) for at, piece in enumerate(pieces)]


def _tip(piece: Fired, names: Sequence[str]) -> Tip:
    first = sorted(piece.levels, key=lambda code: -piece.levels[code])[:LANGUAGES]
    levels = " · ".join(f"{name_of(code)} {piece.levels[code]:.2f}" for code in first)
    text = f"{piece.text.strip() or '␣'}: {levels}"
    if piece.language is None or not names:
        return Tip(text, None)
    listed = f"{', '.join(names[:NAMES])}{'…' if len(names) > NAMES else ''}"
    said = say("neuron.fire", language=name_of(piece.language), active=len(names), names=listed)
    return Tip(f"{text}. {said}", names[0])
