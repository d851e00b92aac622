"""Where the columns are on the page: they are made once, and shown as far as a comparison has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.compare.chat import Talks, prompts_of
from lape.demo.compare.columns import badges, conversation, head, kind_of
from lape.demo.compare.comparison import Column
from lape.demo.compare.marked import empty_box, text_box
from lape.demo.compare.request import MOST_TARGETS, CompareRequest
from lape.demo.compare.variants import Variants
from lape.demo.part import Outputs

_STEERED = ("steered", *(f"steered-{number}" for number in range(2, MOST_TARGETS + 1)))
PLACES = ("on", "off", *_STEERED, "kept", "residual", "plain", "random")


@dataclass(frozen=True)
class Place:
    """The parts of one column on the page."""

    box: gr.Column
    head: gr.HTML
    badges: gr.HTML
    text: gr.HTML

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.box, self.head, self.badges, self.text


def places_of(names: Iterable[str]) -> dict[str, str]:
    """Which place each column has: the steered ones take the next of theirs."""
    steered = iter(_STEERED)
    return {name: next(steered) if kind_of(name) == "steered" else name for name in names}


class Places:
    """The columns of a page; building it adds them.

    Args:
        variants: The columns to begin with.
        request: What they are for.
        columns: What they show; none before there is a text.
    """

    def __init__(self, variants: Variants, request: CompareRequest, columns: Mapping[str, Column]) -> None:
        self._places: dict[str, Place] = {}
        begin = {place: name for name, place in places_of(variants).items()}
        with gr.Row(elem_classes="lape-columns", equal_height=True):
            for place in PLACES:
                with gr.Column(min_width=220, visible=place in begin, elem_classes="lape-column") as box:
                    name = begin.get(place, place)
                    column = columns.get(name)
                    title = gr.HTML(head(name, variants[name], request) if name in variants else "")
                    told = gr.HTML(badges(column, request) if column else badges(None), elem_id=f"lape-badges-{place}")
                    shown = text_box(name, column, request) if column else empty_box()
                    text = gr.HTML(shown, elem_id=f"lape-text-{place}")
                self._places[place] = Place(box, title, told, text)

    @property
    def parts(self) -> list[Any]:
        """All components that the columns are made of."""
        return [part for place in self._places.values() for part in place.parts]

    @property
    def written(self) -> list[Any]:
        """Those that change while a text is written."""
        return [part for place in self._places.values() for part in (place.badges, place.text)]

    def heads(self, variants: Variants, request: CompareRequest) -> Outputs:
        """Shows the columns of a request, with their titles."""
        found = places_of(variants)
        shown: Outputs = {
            self._places[place].head: head(name, variants[name], request) for name, place in found.items()
        }
        visible = set(found.values())
        return shown | {place.box: gr.Column(visible=name in visible) for name, place in self._places.items()}

    def hidden(self) -> Outputs:
        """Shows no column."""
        return {place.box: gr.Column(visible=False) for place in self._places.values()}

    def cleared(self, *, chat: bool, talks: Talks | None = None, waiting: bool = False) -> Outputs:
        """Takes the texts away; in a chat, what was said before stays."""
        empty = conversation([]) if chat else empty_box(waiting=waiting)
        shown: Outputs = {}
        for place in self._places.values():
            shown |= {place.text: empty, place.badges: badges(None)}
        for name, at in places_of(talks or {}).items():
            shown[self._places[at].text] = conversation((talks or {})[name])
        return shown

    def drawn(self, request: CompareRequest, columns: Mapping[str, Column], talks: Talks) -> Outputs:
        """The columns as they are at a moment."""
        asked = prompts_of(request, list(columns), talks)
        shown: Outputs = {}
        for name, place in places_of(columns).items():
            column, parts = columns[name], self._places[place]
            if request.chat:
                said = [message for message in asked[name] if not isinstance(message, str)]
                shown[parts.text] = conversation([*said, {"role": "assistant", "content": column.text}])
            else:
                shown[parts.text] = text_box(name, column, request)
        return shown | self.badged(request, columns)

    def badged(self, request: CompareRequest, columns: Mapping[str, Column]) -> Outputs:
        """Only what is told of the texts."""
        return {
            self._places[place].badges: badges(columns[name], request) for name, place in places_of(columns).items()
        }
