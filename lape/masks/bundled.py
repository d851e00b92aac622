"""The masks and statistics that come with the project, found on disk.

They lie in `<org>--<model>/<method>/` under a folder called `precomputed`.
"""

from __future__ import annotations

import os
from pathlib import Path

from lape.errors import BadFile
from lape.models.presets import resolve_name
from lape.storage.names import MASK_NAME
from lape.storage.placing import PLACED, settle


def bundled_folder(model: str | None = None, method: str = "lape") -> Path:
    """The folder of a bundled mask and its statistics.

    Looked for in `LAPE_PRECOMPUTED`, `./precomputed`, then beside or inside the installed package.

    Raises:
        BadFile: There is none; says which there are.
    """
    name = resolve_name(model)
    for root in bundled_roots():
        folder = root / name.replace("/", "--") / method
        settle(folder)
        if os.path.isfile(folder / MASK_NAME):  # unlike Path.is_file, also for a name no file can have
            return folder
    there = sorted({f"{path.parts[-3].replace('--', '/')} {path.parts[-2]}" for path in bundled_masks()})
    raise BadFile(
        f"No {method!r} mask for {name} is bundled. There are: {'; '.join(there) or 'none'}. "
        "Make one with `lape record` and `lape identify`."
    )


def bundled_roots() -> list[Path]:
    """The folders bundled masks are looked for in, those that exist, in order."""
    package = Path(__file__).parents[1]
    named = os.environ.get("LAPE_PRECOMPUTED")
    roots = [Path(named)] if named else []
    roots += [Path("precomputed"), package.parent / "precomputed", package / "precomputed"]
    return list(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))


def bundled_masks() -> list[Path]:
    """Every bundled mask file, in the order they are looked for."""
    roots = bundled_roots()
    for root in roots:
        for waiting in root.glob(f"*/*/{PLACED}"):
            settle(waiting.parent)
    return [path for root in roots for path in root.glob(f"*/*/{MASK_NAME}")]
