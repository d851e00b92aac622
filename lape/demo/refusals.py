"""How the page refuses a call it was not made for: one sentence, and a status that puts it on the call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from traceback import walk_tb
from typing import Any, NoReturn

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from starlette.middleware import Middleware

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_refused: ContextVar[list[str] | None] = ContextVar("refused", default=None)  # in the call that is being answered


def refuse(text: str) -> NoReturn:
    """Ends a call with a sentence.

    Raises:
        gr.Error: Always.
    """
    if (said := _refused.get()) is not None:
        said.append(text)
    raise gr.Error(text, print_exception=False)


class Refusals:
    """ASGI middleware: what was refused is no error of the server, as gradio has it (500), but of the call (422)."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        said: list[str] = []

        async def sending(message: Message) -> None:
            if said and message.get("status") == 500:
                message = {**message, "status": 422}
            await send(message)

        _refused.set(said)
        await self.app(scope, receive, sending)


async def unknown(request: Request, error: Exception) -> JSONResponse:
    """The answer to a call that names nothing there is: gradio looks names up and lets the failure through.

    A failure that comes from our own code is none of the call's: it is logged, and answered as what it is.
    """
    if _is_ours(error):
        logger.error("%r failed.", request.url.path, exc_info=error)
        said = f"Something failed ({type(error).__name__}). The log of the server says more; try again."
        return JSONResponse({"detail": said}, status_code=500)
    logger.info("%r could not be answered.", request.url.path, exc_info=error)
    return JSONResponse({"detail": "This page has no such event, or not with these values."}, status_code=404)


async def misshapen(request: Request, error: Exception) -> JSONResponse:
    """The answer to a call of another shape; FastAPI's own repeats what came, which it cannot always write."""
    return JSONResponse({"detail": "This call is not of the form that the page's API has."}, status_code=422)


def _is_ours(error: BaseException) -> bool:
    """Whether code of lape was running, or what it called: gradio calls us, and where we call it, it looks names up."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    last = next((module for module in reversed(modules) if module.split(".")[0] in ("lape", "gradio")), __name__)
    return last.split(".")[0] == "lape" and last != __name__


APP: dict[str, Any] = {
    "middleware": [Middleware(Refusals)],
    "exception_handlers": {
        RequestValidationError: misshapen,
        FnIndexInferError: unknown,
        KeyError: unknown,
        TypeError: unknown,
    },
}
