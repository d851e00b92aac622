"""The door of the page, before gradio: whose calls are answered, how much is uploaded, what a broken answer writes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse

from lape.demo.backend import Backend
from lape.demo.reach import FOREIGN, SHARED, address_of, is_foreign, is_forwarded
from lape.demo.uploads import Quota
from lape.demo.words import speaking

logger = logging.getLogger(__name__)

# Of gradio's routes those the page has no use for: other visitors' state and calls, fetching for others, its editor.
CLOSED = re.compile(
    r"/(gradio_api/)?(deep_link|monitoring|proxy=|stream/|component_server|custom_component|process_recording|run-history"
    r"|runs\b|vibe-|undo-vibe-|dev/|profiling)"
)
LONGEST_NAME = 255  # bytes, of a file
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gate:
    """ASGI middleware in front of the whole page.

    Args:
        app: What is behind it.
        backend: Of the page; it is shared from the first call on that a proxy hands on.
        loopback: Whether only this machine reaches the page, so that calls for another host are refused.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], backend: Backend, loopback: bool) -> None:
        self.app = app
        self.backend = backend
        self.loopback = loopback
        self.quota = Quota()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.loopback and is_foreign(headers):
            await PlainTextResponse(FOREIGN, 421)(scope, receive, send)
            return
        if not _is_open(scope["path"]) or not all(map(SESSION.fullmatch, _sessions(scope))):
            await PlainTextResponse("This page has no such address.", 404)(scope, receive, send)
            return
        if not self.backend.shared and is_forwarded(headers):
            self.backend.shared = True
            logger.warning("A proxy handed a call on. %s", SHARED)
        uploads = scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload")
        if uploads and self.backend.shared:
            await self._upload(scope, receive, send, headers)
        else:
            await self._answer(scope, receive, send)

    async def _upload(self, scope: Message, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """Lets files in while there is room for their visitor's."""
        address = address_of((scope.get("client") or ("", 0))[0], headers.get("x-forwarded-for", ""))
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            await PlainTextResponse("Say how long the upload is (Content-Length).", 411)(scope, receive, send)
            return
        answer = b""

        async def sending(message: Message) -> None:
            nonlocal answer
            answer += message.get("body", b"")
            await send(message)

        with speaking(headers.get("accept-language")), self.quota.room(address, int(length)) as refusal:
            if refusal:
                await PlainTextResponse(refusal, 429)(scope, receive, send)
                return
            await self._answer(scope, receive, sending)
            self.quota.keep(address, _paths(answer))

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """An answer that breaks off once begun, such as a stream for a session there is not, writes one line.

        The server would write the whole traceback, and cannot say more to the caller.
        """
        begun = ended = False

        async def sending(message: Message) -> None:
            nonlocal begun, ended
            begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if not begun:
                raise
            logger.warning("%s %.100r broke off (%s).", scope["method"], scope["path"], type(error).__name__)
            if not ended:
                await send({"type": "http.response.body", "body": b""})


def _is_open(path: str) -> bool:
    """Whether there may be something at a path; gradio asks the disk for some, and fails at names that are too long."""
    longest = max(len(part.encode(errors="replace")) for part in path.split("/"))
    return not CLOSED.match(path) and longest <= LONGEST_NAME


def _sessions(scope: Message) -> list[str]:
    """The sessions that a call's address names."""
    named = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("session_hash", [])
    _, heartbeat, of = scope["path"].partition("/heartbeat/")
    return [*named, of] if heartbeat else named


def _paths(answer: bytes) -> list[str]:
    """The files that an upload's answer names; none when it was refused."""
    try:
        named = json.loads(answer)
    except ValueError:
        return []
    return [path for path in named if isinstance(path, str)] if isinstance(named, list) else []
