"""The demo: `python app.py`, on your machine or as a Hugging Face Space."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401  # a Space's own package; it asks to come before torch


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"lape: {message} (see `python app.py --help`)\n")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are 1 to 65535")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Loads a model and its mask and serves the page until Ctrl-C; returns the exit code."""
    began = time.perf_counter()
    parser = _Parser(prog="app.py", description="See and switch the language neurons of a language model.")
    named = os.environ.get("LAPE_MODEL")
    parser.add_argument(
        "--model", default=named, help="Hub id, folder or preset (default: LAPE_MODEL, or the embedded)"
    )
    parser.add_argument("--quantization", choices=("auto", "4bit", "8bit"), help="how to load the weights")
    forms = ("auto", "float32", "float16", "int8")
    parser.add_argument("--cpu-form", choices=forms, default="auto", help="weights that a CPU generates with")
    parser.add_argument("--mask", type=Path, help="folder of a mask (default: the one found for the model)")
    parser.add_argument("--share", action="store_true", help="also make a public link, through gradio's servers")
    port = os.environ.get("GRADIO_SERVER_PORT", "7860")
    parser.add_argument("--port", type=_port, default=port, help="port to serve at (default: %(default)s)")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("gradio") is None:
        print("lape: The page needs gradio: pip install 'lape[demo]', or run `make app`.", file=sys.stderr)
        return 2
    from lape.interrupts import STOPPED, interrupts

    with interrupts() as interrupted:
        try:
            return _serve(options, began)
        except KeyboardInterrupt:
            pass
        except Exception:
            if not interrupted.is_set():
                raise
        print(STOPPED, file=sys.stderr)
        return 130


def _serve(options: argparse.Namespace, began: float) -> int:
    """Serves the page until Ctrl-C."""
    from lape.demo.page import LapeError, build_page, check_port, launch, rules, start, wait  # most of the start
    from lape.models.embedded import default_model

    try:
        check_port(options.port)
        backend = start(
            options.model, options.quantization, options.mask, cpu_form=options.cpu_form, share=options.share
        )
        if options.model is None and (why := default_model()[1]):
            print(why, file=sys.stderr)
        page = build_page(backend)
        url = launch(page, options.port, share=options.share)
        print(f"Ready in {time.perf_counter() - began:.1f} s: {url}", flush=True)
        print(rules(backend), flush=True)
        wait(page, backend)
    except LapeError as error:
        print(f"lape: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
