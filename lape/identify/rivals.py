"""Another method's neurons in the place of a mask's, so that two methods can be held against each other."""

from __future__ import annotations

from lape.identify import identify
from lape.masks.mask import NeuronMask
from lape.recording.recorded import Recorded


def with_neurons_of(mask: NeuronMask, recorded: Recorded, method: str) -> NeuronMask:
    """The neurons that another method chooses, as many of each language as a mask has, or all that there are.

    Args:
        mask: Says the languages, and how many neurons of each.
        recorded: What the method identifies neurons from.
        method: Its name.

    Raises:
        LapeError: The recording does not give them.
    """
    counts = {code: mask.count(code) for code in mask.languages}
    return identify(recorded, method, mask.languages, per_language=counts, at_most=True)
