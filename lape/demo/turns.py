"""The queue of the page, in which no visitor takes the turns of all others."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException, Request
from gradio.queueing import Event, Queue

from lape.demo.gate import SESSION
from lape.demo.reach import address_of
from lape.demo.words import say, speaking

PLACES = 20  # runs that wait; bounded, so that nobody waits for hours
PLACES_OF_A_PAGE = 4  # of one session, waiting or running
PLACES_OF_AN_ADDRESS = PLACES // 2  # of all sessions behind one network address: a visitor can begin any number


class Turns(Queue):
    """gradio's queue with a share of its places for each visitor, and no record of who called what."""

    def compute_analytics_summary(self, records: Any) -> dict[str, Any]:
        """Nothing: gradio sums up all calls after each, for a page that is closed here."""
        self.event_analytics.clear()
        return self.cached_event_analytics_summary

    async def push(self, body: Any, request: Request, username: str | None) -> Any:
        """Takes a call into the queue.

        Raises:
            HTTPException: The visitor, or those with the same address, have their share of the queue already.
        """
        if body.session_hash is not None and not SESSION.fullmatch(body.session_hash):
            raise HTTPException(422, "A session is named with 1 to 64 of the characters A-Z a-z 0-9 _ and -.")
        self._forget()
        present = self._present()
        with speaking(request.headers.get("accept-language")):
            mine = sum(event.session_hash == body.session_hash for event in present)
            if mine >= PLACES_OF_A_PAGE:
                raise HTTPException(429, say("said.own_runs", count=mine))
            address = _address(request)
            near = sum(_address(event.request) == address for event in present)
            if near >= PLACES_OF_AN_ADDRESS:
                raise HTTPException(429, say("said.near_runs", count=near))
        return await super().push(body, request, username)

    def _forget(self) -> None:
        """Lets go of what was noted of sessions that the page no longer keeps; gradio does when somebody reads it."""
        kept = self.blocks.app.state_holder.session_data
        for session in [one for one in self.pending_event_ids_session if one not in kept]:
            if not self.pending_event_ids_session[session] & self.event_ids_to_events.keys():
                del self.pending_event_ids_session[session]

    def _present(self) -> list[Event]:
        """What waits, and what runs."""
        waiting = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        return waiting + [event for job in self.active_jobs for event in job or ()]


def _address(request: Request) -> str:
    return address_of(request.client.host if request.client else "", request.headers.get("x-forwarded-for", ""))
