"""Packages of an embedded model with other weights, which take its place in the table."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from lape.models import embedded
from lape.models.embedded import EmbeddedModel

WEIGHTS = b"weights of a stand-in"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def standing_in_for(original: EmbeddedModel, folder: Path, patch: pytest.MonkeyPatch) -> EmbeddedModel:
    """Installs them in a folder; gives the model as the table now has it."""
    share = -(-len(WEIGHTS) // len(original.pieces))
    pieces = []
    for number, (_, name) in enumerate(original.pieces):
        module = f"{original.key}_standin_{number}"
        (folder / module / name).parent.mkdir(parents=True)
        (folder / module / name).write_bytes(WEIGHTS[number * share : (number + 1) * share])
        (folder / module / "__init__.py").write_text("raise ImportError('a package of weights is never imported')\n")
        pieces.append((module, name))
    patch.syspath_prepend(folder)
    model = replace(original, pieces=tuple(pieces), sha256=SHA256)
    patch.setattr(embedded, "EMBEDDED", tuple(model if row.key == original.key else row for row in embedded.EMBEDDED))
    return model
