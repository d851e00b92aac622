"""Which causal families of transformers can be hooked: a stored table, made by trying each on a tiny random model.

`make families` makes it anew, for the transformers that is installed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

FAMILIES_FILE = "families.json"


@dataclass(frozen=True)
class Family:
    """What was found of a family.

    Attributes:
        model_type: Its name in transformers, `model.config.model_type`.
        model_class: The class of its causal language model.
        neurons: Which are counted: `dense`, or `routed experts`; None where it is not supported.
        all_layers: Whether each layer of the tiny model has such neurons; a hybrid's or a mixture's may not.
        why: Why it is not supported; empty where it is.
    """

    model_type: str
    model_class: str
    neurons: str | None
    all_layers: bool
    why: str


def families() -> tuple[str, tuple[Family, ...]]:
    """The version of transformers that was tried, and its causal families by name."""
    made = json.loads((files("lape.models") / FAMILIES_FILE).read_text(encoding="utf-8"))
    found = (
        Family(
            name,
            row["class"],
            row.get("neurons"),
            row.get("layers") == "all",
            row.get("refused") or row.get("untried") or "",
        )
        for name, row in sorted(made["families"].items())
    )
    return made["transformers"], tuple(found)
