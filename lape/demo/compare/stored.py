"""The comparison that the page opens with: made before, and shown only where it is what the page would make.

`python -m lape.demo.compare.stored` makes those of the embedded models anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from lape.demo.backend import Backend
from lape.demo.compare.comparison import Column, compare
from lape.demo.compare.export import Comparison, about, fingerprint
from lape.demo.compare.request import CompareRequest, opening
from lape.demo.loaded import Loaded
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.quality import Quality
from lape.evaluation.runs.evidence import json_hash
from lape.models.embedded import GEMMA, SMOLLM2
from lape.storage.files import write_json

FOLDER = Path(__file__).parent / "comparisons"
FORM = "float32"  # whose texts are the same on every processor


def stored(loaded: Loaded | None) -> Comparison | None:
    """The finished comparison of a model, its mask and the page's defaults; None where none was made of just these."""
    if loaded is None or loaded.mask is None:
        return None
    run = _read(_file(loaded))
    if run is None or run.about["mask"]["sha256"] != fingerprint(loaded.mask):
        return None
    return run if run.request == opening(loaded.mask.languages) else None


def made(backend: Backend) -> Comparison:
    """Makes the comparison with what a backend has loaded; without the speed, which is this machine's."""
    loaded = backend.ready()
    request = opening(loaded.known_mask.languages)
    *_, columns = compare(backend, request)
    still = {name: replace(column, tokens_per_second=0.0) for name, column in columns.items()}
    return Comparison(request, still, {}, about(loaded))


def digest(found: Mapping[str, Any]) -> str:
    """SHA-256 of what was asked of which model and mask, and what came out."""
    said = {name: found[name] for name in ("model", "mask", "settings", "columns")}
    return json_hash(said)


def write(run: Comparison, loaded: Loaded) -> Path:
    """Stores a comparison; returns its file."""
    columns = [{"name": name, **asdict(column)} for name, column in run.columns.items()]
    found = json.loads(json.dumps({**run.about, "settings": asdict(run.request), "columns": columns}))
    file = _file(loaded)
    write_json(file, found | {"digest": digest(found)})
    _read.cache_clear()
    return file


def _file(loaded: Loaded) -> Path:
    return FOLDER / f"{loaded.public_name.replace('/', '--')}.json"


@cache
def _read(file: Path) -> Comparison | None:
    """What is stored; None where there is nothing, or something that another version made."""
    if not file.is_file():
        return None
    found = json.loads(file.read_text("utf-8"))
    settings = found["settings"] | {"targets": tuple(found["settings"]["targets"])}
    try:
        request = CompareRequest(**settings)
        columns = dict(map(_column, found["columns"]))
    except (KeyError, TypeError):
        return None
    return Comparison(request, columns, {}, {name: found[name] for name in ("model", "mask", "environment")})


def _column(values: Mapping[str, Any]) -> tuple[str, Column]:
    fields = {key: value for key, value in values.items() if key != "name"}
    judged = values["quality"]
    fields["quality"] = judged and Quality(**{**judged, "reasons": tuple(judged["reasons"])})
    fields |= {"language": Identified(**values["language"]), "token_ids": tuple(values["token_ids"])}
    return values["name"], Column(**fields)


if __name__ == "__main__":
    for embedded in (GEMMA, SMOLLM2):
        serving = Backend(Loaded.load(embedded.model, None, None, FORM))
        print(write(made(serving), serving.ready()))
