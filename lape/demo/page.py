"""The whole page: its frame, its looks, and how it is served."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, traverse

from lape.demo.backend import Backend
from lape.demo.columns import facts
from lape.demo.compare import build_compare
from lape.demo.theme import CSS, KEYS, THEME
from lape.errors import LapeError

PAPER = "https://arxiv.org/abs/2402.16438"
QUEUE_SIZE = 20
INTRODUCTION = f"""# Language neurons, switched

A few neurons of a language model fire for one language only ([Tang et al. 2024]({PAPER})).
Here one prompt is continued side by side: with the neurons of its language **on**, **off**, and **steered** to another.
"""


class Page(gr.Blocks):
    """Blocks that refuse misshapen API calls in one sentence; gradio's own messages repeat all that came."""

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Refuses too few values, and files."""
        if len(inputs) < (needed := len(block_fn.inputs)):
            text = f"{block_fn.api_name or 'This call'} takes {needed} values, and {len(inputs)} came."
            raise gr.Error(text, print_exception=False)
        traverse(inputs, _refuse_file, is_file_obj_with_meta)


def _refuse_file(_: Any) -> None:
    raise gr.Error("Files are not accepted here.", print_exception=False)


def build_page(backend: Backend) -> Page:
    """The page of a backend, with its queue, not yet served."""
    layers, width = backend.mask.shape
    name = str(backend.mask.metadata.get("model", "the model")).rpartition("/")[2]
    with Page(title="lape: language neurons, switched", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION, elem_classes="lape-introduction")
        gr.HTML(facts(name, f"{layers} layers × {width:,} neurons", f"{len(backend.languages)} languages"))
        for note in backend.notes:
            gr.HTML(facts(f"Note: {note}"))
        build_compare(backend)
    # Without the queue a call could skip its turn, so all must join it. It is bounded, so that nobody waits for hours.
    page.queue(max_size=QUEUE_SIZE, api_open=False)
    return page


def check_port(port: int) -> None:
    """Refuses a port nothing can be served at, before a model is loaded.

    Raises:
        LapeError: Says the way out.
    """
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1").strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except PermissionError as error:
        raise LapeError(f"Port {port} needs administrator rights; choose one from 1024 on with --port.") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise LapeError(f"Nothing can be served at {host} port {port}: {error}.") from error
        raise LapeError(_in_use(port)) from error


def _in_use(port: int) -> str:
    other = port + 1 if port < 65535 else port - 1
    return f'Port {port} is in use; choose another with --port {other} (or ARGS="--port {other}" for `make app`).'


def launch(page: Page, port: int, *, share: bool = False) -> str:
    """Serves a page in the background; returns its address.

    Raises:
        LapeError: The port has been taken in the meantime, or the server does not answer.
    """
    try:
        _, url, public = page.launch(
            server_port=port,
            share=share,
            quiet=True,
            prevent_thread_lock=True,
            show_error=True,
            run_history=False,  # else prompts and texts stay in the visitor's browser
            footer_links=["api", "settings"],
            max_file_size="1kb",  # nothing is uploaded here
            theme=THEME,
            css=CSS,
            head=KEYS,
        )
    except OSError as error:
        check_port(port)
        raise LapeError("The page could not be served within a few seconds; try again.") from error
    if share and not public:
        print("lape: no public link could be made; the page is served here only.", file=sys.stderr)
    return url.rstrip("/")


def wait(page: Page, backend: Backend) -> None:
    """Blocks until Ctrl-C, then ends what runs and closes the page."""
    try:
        while True:
            time.sleep(1)
    finally:
        backend.close()
        page.close(verbose=False)
