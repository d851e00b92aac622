"""The ways that are compared, each on a model of its own that shares the weights."""

from __future__ import annotations

import copy
from importlib import import_module

from benchmarks.rivals.tasks import Count, Way, count_by_products, count_plainly

OURS = "lape"
FLOORS = {  # what neither counts nor steers, so that there is nothing to compare
    "transformers, nothing counted": "with_transformers:Plain",
    "its decoder alone": "with_transformers:Decoder",
}
WAYS = {
    OURS: "with_lape:Lape",
    "forwards replaced by hand": "with_transformers:Replaced",
    "nnsight": "with_nnsight:NNsight",
    "TransformerLens": "with_transformer_lens:TransformerLens",
    "pyvene": "with_pyvene:Pyvene",
}
COUNTS: dict[str, Count] = {"reductions": count_plainly, "lape's sums": count_by_products}


def make(name: str, model, tokenizer, count: Count) -> Way:
    """A way, on a copy of the model: what a library does to the modules stays with it.

    Raises:
        ImportError: Its library is not installed.
    """
    module, _, attribute = {**FLOORS, **WAYS}[name].partition(":")
    way = getattr(import_module(f"benchmarks.rivals.{module}"), attribute)
    shared = {id(tensor): tensor for tensor in model.parameters()}
    return way(copy.deepcopy(model, shared), tokenizer, count)
