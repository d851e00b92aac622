"""The ways that are compared, each on a model of its own that shares the weights."""

from __future__ import annotations

import copy
from importlib import import_module

from benchmarks.rivals.tasks import Count, Way, count_by_products, count_plainly

FLOORS = {  # what neither counts nor steers, so that nothing is compared
    "transformers, nothing counted": "with_transformers:Plain",
    "its decoder alone": "with_transformers:Decoder",
}
OURS = {"lape": "with_lape:Lape"}
RIVALS = {
    "forwards replaced by hand": "with_transformers:Replaced",
    "nnsight, to the last activation": "with_nnsight:NNsight",
    "nnsight, the whole pass": "with_nnsight:WholePass",
    "TransformerLens": "with_transformer_lens:TransformerLens",
    "pyvene": "with_pyvene:Pyvene",
}
WAYS = {**FLOORS, **OURS, **RIVALS}
COUNTS: dict[str, Count] = {"reductions": count_plainly, "lape's sums": count_by_products}


def make(name: str, model, tokenizer, count: Count = count_plainly) -> Way:
    """A way, on a copy of the model: what a library does to the modules stays with it.

    Raises:
        ImportError: Its library is not installed.
    """
    module, _, attribute = WAYS[name].partition(":")
    way = getattr(import_module(f"benchmarks.rivals.{module}"), attribute)
    weights = {id(tensor): tensor for tensor in model.parameters()}
    return way(copy.deepcopy(model, weights), tokenizer, count)
