"""The whole page: its frame, its looks, and how it is served."""

from __future__ import annotations

import errno
import socket
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from lape.demo.about import build_about
from lape.demo.backend import Backend
from lape.demo.compare.tab import build_compare
from lape.demo.direction import DIRECTION, DIRECTION_CSS
from lape.demo.find.tab import build_find
from lape.demo.gate import Gate
from lape.demo.loaded import Loaded
from lape.demo.masks.tab import build_masks
from lape.demo.measure.tab import build_measure
from lape.demo.models import build_models
from lape.demo.neurons.address import OPEN, TAB
from lape.demo.neurons.looks import CSS as NEURONS_CSS
from lape.demo.neurons.tab import build_neurons
from lape.demo.part import QUIET, Outputs, visitor_of
from lape.demo.reach import OWN, SHARED, is_loopback, server_host
from lape.demo.refusals import APP, refuse
from lape.demo.space import on_space
from lape.demo.theme import CSS, KEYS, THEME
from lape.demo.turns import PLACES, Turns
from lape.demo.uploads import UPLOAD_BYTES, UPLOADS_KEPT_SECONDS, check_uploads
from lape.demo.words import LANGUAGES, speaking, tongue, translations, word
from lape.errors import LapeError
from lape.models.embedded import GEMMA
from lape.models.machine import share_arenas

SESSIONS = 64  # kept at a time, with what each found last; every raw call without a name begins one


class Page(gr.Blocks):
    """Blocks that refuse misshapen API calls in one sentence; gradio's own messages repeat all that came.

    Args:
        backend: What the page serves.
        **settings: gradio's.
    """

    def __init__(self, backend: Backend, **settings: Any) -> None:
        super().__init__(**settings)
        self.backend = backend

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Refuses too few values, and files but those uploaded for a component that takes some."""
        if block_fn.fn is None:
            refuse(f"{block_fn.api_name or 'This call'} happens in the browser.")
        if len(inputs) < (needed := len(block_fn.inputs)):
            refuse(f"{block_fn.api_name or 'This call'} takes {needed} values, and {len(inputs)} came.")
        for block, value in zip(block_fn.inputs, inputs, strict=False):
            check_uploads(block, value, self.upload_file_set)

    async def process_api(self, *values: Any, **named: Any) -> dict[str, Any]:
        """Answers in the language of who asks; what runs in a thread for it has a copy of this context."""
        headers = getattr(named.get("request"), "headers", None) or {}
        with speaking(headers.get("accept-language")):
            return await super().process_api(*values, **named)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """Lets go of what gradio would keep in a session: components that took the place of others, and links' values.

        An update makes a new component in the session; the next value for it is kept under that component's own id
        too, for as long as the session is there. What links to a session would show is never asked for here.
        """
        output = await super().postprocess_data(block_fn, predictions, state)
        if state is not None:
            for stray in state.blocks_config.blocks.keys() - self.blocks.keys():
                del state.blocks_config.blocks[stray]
            state.config_values.clear()
        return output

    def forget(self, session: str) -> None:
        """Lets go of a session whose page was closed; gradio keeps it for an hour, and some of it for good."""
        self.app.state_holder.session_data.pop(session, None)
        self.app.state_holder.time_last_used.pop(session, None)
        self._queue.pending_event_ids_session.pop(session, None)


def build_page(backend: Backend) -> Page:
    """The page of a backend, with its queue, not yet served."""
    tidy = (UPLOADS_KEPT_SECONDS // 6, UPLOADS_KEPT_SECONDS)
    with Page(backend, title="lape: language neurons, switched", analytics_enabled=False, delete_cache=tidy) as page:
        gr.Markdown(word("page.introduction"), elem_classes="lape-introduction")
        parts = [build_models(backend)]
        with gr.Tabs():
            with gr.Tab(word("page.compare")):
                parts.append(build_compare(backend))
            with gr.Tab(word("page.neurons"), id=TAB):
                parts.append(build_neurons(backend))
            with gr.Tab(word("page.measure")):
                parts.append(build_measure(backend))
            with gr.Tab(word("page.find")):
                parts.append(build_find(backend))
            with gr.Tab(word("page.masks")):
                parts.append(build_masks(backend))
            with gr.Tab(word("page.about")):
                parts.append(build_about(backend))
        gr.Markdown(GEMMA.notice_markdown, elem_classes="lape-footer")
        built = gr.State(backend.version())

        def refresh(request: gr.Request, *values: Any) -> Outputs:
            """Makes every part true to what the visitor works on."""
            given = iter(values)
            shown: Outputs = {}
            for part in parts:
                shown |= part.refresh(visitor_of(request), *islice(given, len(part.inputs)))
            return shown

        def arrive(request: gr.Request, version: int, *values: Any) -> Outputs:
            """What a page that is just opened shows; as it was built, if that still is what its visitor would see."""
            shown: Outputs = {built: None}
            for part in parts:
                if part.enter is not None:
                    part.enter(request)
            if version != backend.version(visitor_of(request)) or tongue() != LANGUAGES[0]:
                shown |= refresh(request, *values)
            for part in parts:
                if part.arrive is not None:
                    shown |= part.arrive(request)
            return shown

        def leave(request: gr.Request) -> None:
            visitor = visitor_of(request)
            backend.leave(visitor)
            for part in parts:
                if part.leave is not None:
                    part.leave(visitor)
            page.forget(visitor)

        everything = [built, *dict.fromkeys(output for part in parts for output in part.outputs)]
        inputs = [value for part in parts for value in part.inputs]
        page.load(arrive, [built, *inputs], everything, preprocess=False, **QUIET)
        page.load(None, None, None, js=OPEN)
        for change in (event for part in parts for event in part.changes):
            # A change during a refresh needs one more, or the page would stay behind.
            change.then(refresh, inputs, everything, trigger_mode="always_last", preprocess=False, **QUIET)
        page.unload(leave)
    page.queue(api_open=False)  # without the queue a call could skip its turn, so all must join it
    page._queue = Turns(
        live_updates=True, concurrency_count=page.max_threads, update_intervals=1, max_size=PLACES, blocks=page
    )
    return page


def start(
    model: str | None,
    quantization: str | None = None,
    mask: Path | None = None,
    *,
    cpu_form: str = "auto",
    share: bool = False,
) -> Backend:
    """Loads what the page begins with.

    On a Space the page starts even when the model does not load, and says why; its owner may be asleep.

    Args:
        model: As for `load_model`.
        quantization: As for `load_model`.
        mask: Folder of a mask; None takes the one that is found.
        cpu_form: As for `load_model`, of every model the page loads.
        share: Whether the page gets a public link.

    Raises:
        LapeError: It cannot be loaded here.
    """
    try:
        loaded = Loaded.load(model, quantization, mask, cpu_form)
        return Backend(loaded, shared=share or not is_loopback(server_host()), cpu_form=cpu_form)
    except LapeError as error:
        if not on_space():
            raise
        return Backend(failure=str(error), cpu_form=cpu_form)


def check_port(port: int) -> None:
    """Refuses a port nothing can be served at, before a model is loaded.

    Raises:
        LapeError: Says the way out.
    """
    host = server_host()
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


def launch(page: Page, port: int, *, share: bool = False, mcp: bool = False) -> str:
    """Serves a page in the background; returns its address.

    Raises:
        LapeError: The port has been taken in the meantime, or the server does not answer.
    """
    share_arenas()
    gate = Middleware(Gate, backend=page.backend, loopback=is_loopback(server_host()) and not (share or on_space()))
    page.enable_monitoring = False  # from the first call on; gradio itself looks at the setting below later
    try:
        _, url, public = page.launch(
            server_port=port,
            share=share,
            quiet=True,
            prevent_thread_lock=True,
            show_error=True,
            state_session_capacity=SESSIONS,
            mcp_server=mcp,  # what the API page lists, as tools
            enable_monitoring=False,  # else anybody reads what everybody calls
            run_history=False,  # else prompts and texts stay in the visitor's browser
            footer_links=["api", "settings"],
            max_file_size=UPLOAD_BYTES,
            theme=THEME,
            css=CSS + DIRECTION_CSS + NEURONS_CSS,
            head=KEYS + DIRECTION,
            i18n=translations(),
            app_kwargs={**APP, "middleware": [gate, *APP["middleware"]]},
        )
    except OSError as error:
        check_port(port)
        raise LapeError("The page could not be served within a few seconds; try again.") from error
    if share and not public:
        print("lape: no public link could be made; the page is served here only.", file=sys.stderr)
    return url.rstrip("/")


def rules(backend: Backend) -> str:
    """Which rules hold on the page, for its owner."""
    return SHARED if backend.shared else OWN


def wait(page: Page, backend: Backend) -> None:
    """Blocks until Ctrl-C, then ends what runs and closes the page."""
    try:
        while True:
            time.sleep(1)
    finally:
        backend.close()
        page.close(verbose=False)
