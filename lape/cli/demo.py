"""The command that serves the page: demo."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

from lape.cli.common import add, emit
from lape.errors import LapeError

QUANTIZATIONS = ("auto", "4bit", "8bit")
CPU_FORMS = ("auto", "float32", "float16", "int8")


def register(commands: Any) -> None:
    """Adds the command of this module."""
    demo = add(commands, "demo", _demo, "serve the page: prompts side by side, neurons, measurements, masks")
    named = os.environ.get("LAPE_MODEL")
    demo.add_argument("--model", default=named, help="Hub id, folder or preset (default: LAPE_MODEL, or the embedded)")
    demo.add_argument("--quantization", choices=QUANTIZATIONS, help="how to load the weights")
    demo.add_argument("--cpu-form", choices=CPU_FORMS, default="auto", help="weights that a CPU generates with")
    demo.add_argument("--mask", type=Path, help="folder of a mask (default: the one found for the model)")
    demo.add_argument("--share", action="store_true", help="also make a public link, through gradio's servers")
    demo.add_argument("--mcp", action="store_true", help="also serve the comparison as a tool for agents (MCP)")
    port = os.environ.get("GRADIO_SERVER_PORT", "7860")
    demo.add_argument("--port", type=_port, default=port, help="port to serve at (default: %(default)s)")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports are 1 to 65535")
    return int(text)


def _demo(options: argparse.Namespace) -> None:
    """Loads a model and its mask and serves the page until Ctrl-C."""
    began = time.perf_counter()
    if importlib.util.find_spec("gradio") is None:
        raise LapeError("The page needs gradio: pip install 'lape[demo]', or run `make app`.")
    if options.mcp and importlib.util.find_spec("mcp") is None:
        raise LapeError(
            "--mcp needs the extra mcp: pip install 'lape[mcp]', in an environment without constraints.txt."
        )
    from lape.demo.page import build_page, check_port, launch, rules, start, wait  # most of the start
    from lape.models.embedded import default_model

    check_port(options.port)
    backend = start(options.model, options.quantization, options.mask, cpu_form=options.cpu_form, share=options.share)
    if options.model is None and (why := default_model()[1]):
        print(why, file=sys.stderr)
    page = build_page(backend)
    url = launch(page, options.port, share=options.share, mcp=options.mcp)
    seconds = round(time.perf_counter() - began, 1)
    found = {"url": url, "seconds": seconds, "shared": backend.shared}
    lines = [f"Ready in {seconds} s: {url}", rules(backend)]
    if options.mcp:
        found["mcp"] = f"{url}/gradio_api/mcp/"
        lines.append(f"For agents (MCP): {found['mcp']}")
    emit(options, found, "\n".join(lines))
    sys.stdout.flush()
    wait(page, backend)
