"""The page: `python app.py`, on your machine or as a Hugging Face Space; `lape demo` is the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401  # a Space's own package; it asks to come before torch

from lape import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the page until Ctrl-C; returns the exit code."""
    return cli.main(["demo", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
