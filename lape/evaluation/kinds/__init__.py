"""What is measured: the kinds of evidence, one record each.

`KINDS` is the only list of them: the commands, the report, `EVIDENCE.md`, the README's table and the page's Measure
tab are made from it. It is in the order in which `lape evaluate all` measures and reports show them: what needs no
model first, and how to steer is chosen before steering is measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from lape.evaluation.kinds import (
    bench,
    confusion,
    firing,
    harm,
    layers,
    perplexity,
    relations,
    stability,
    steering,
    tuning,
)
from lape.evaluation.kinds.kind import Evidence, Headline, Kind

__all__ = ["KINDS", "Evidence", "Headline", "Kind"]

_ALL = (layers, stability, firing, perplexity, tuning, steering, bench, confusion, harm, relations)
KINDS: Mapping[str, Kind] = {module.KIND.name: module.KIND for module in _ALL}
