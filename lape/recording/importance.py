"""Importance: how much each neuron adds to what its layer computes, compared with the layer's others, block by block.

Over a block, a neuron adds its activation (times what multiplies it, in a gated FFN) times its column of the matrix
after it; its importance is the norm of that over the block's tokens, which is what its removal would change of the
layer's output.

Numbers in `importance.safetensors` (`lape/recording/neuron_columns.py`):

    worst   the lowest rank a neuron has in its layer in any block of the language, 0 being the most important: the
            neurons of worst rank below n are those that are among the n most important ones in every block
"""

from __future__ import annotations

from typing import ClassVar

from lape.recording.neuron_columns import NeuronColumns
from lape.storage.names import IMPORTANCE_NAME


class Importance(NeuronColumns):
    """Ranks of each neuron of one model in its layer, per language."""

    what: ClassVar[str] = "importances"
    file: ClassVar[str] = IMPORTANCE_NAME
    command: ClassVar[str] = "lape record --importance"
    kind: ClassVar[str] = "importance"
    counts: ClassVar[tuple[str, ...]] = ("worst", "active")
