"""What a Hugging Face Space offers, and what it asks of the page. Locally, nothing of it holds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def on_space() -> bool:
    """Whether the page is served by a Space, to visitors nobody knows."""
    return bool(os.environ.get("SPACE_ID"))


def on_zero_gpu() -> bool:
    """Whether the Space lends a GPU for the time of a call (ZeroGPU), as its `spaces` package decides it."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def offers_login() -> bool:
    """Whether visitors can log in with their own account (`hf_oauth: true` in the README's header)."""
    return on_space() and bool(os.environ.get("OAUTH_CLIENT_ID")) and importlib.util.find_spec("authlib") is not None


def gpu(function: Function) -> Function:
    """Lends a generator function a GPU on ZeroGPU; elsewhere returns it unchanged.

    There it runs in a forked process: it must attach its hooks itself, yield plain values, and errors of ours
    would arrive as another class.
    """
    if not on_zero_gpu():
        return function
    import spaces

    return spaces.GPU(function)
