"""The neurons one by one: a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_languages
from lape.demo.languages import name_of, titles
from lape.demo.loaded import Loaded
from lape.demo.neurons.pointed import clicked
from lape.demo.neurons.request import ALL_LAYERS, checked_layer, checked_sort
from lape.demo.part import QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.inspection.table import SORTS, Neuron, chosen_neurons, neuron_table

ROWS = 200  # sent to the browser at most
HEADERS = ("language", "layer", "neuron", "entropy", "mean")
NAME = "named"  # the column of a mixture of experts
MOST_COLUMNS = 12  # languages with a column each
MOST_ACTIVE, SHOWN = "most_active", 4  # the column of more languages, and how many of them it names
TO_IT = "() => document.querySelector('#lape-neurons-table').scrollIntoView({ block: 'center' })"


def build_list(backend: Backend, layers: gr.HTML, overlap: gr.HTML) -> tuple[Part, gr.Dataframe]:
    """Adds the section to the gradio page that is being built; returns its table too.

    Args:
        backend: What the page serves.
        layers: The figure of layers: a cell leads to the neurons of a language in a layer.
        overlap: That of shared neurons: a cell leads to those that two languages share.
    """
    gr.Markdown(word("neurons.table_heading"), elem_classes="lape-section")
    shown, found = _table(backend.loaded, [], SORTS[0])
    with gr.Row():
        filtered = gr.Dropdown(
            titles(backend.languages()),
            value=[],
            multiselect=True,
            label=word("neurons.filter"),
            info=word("neurons.filter_info"),
            min_width=200,
            elem_id="lape-neurons-filter",
        )
        layer = gr.Dropdown(
            _layers(backend.loaded),
            value=ALL_LAYERS,
            label=word("neurons.layer"),
            min_width=120,
            elem_id="lape-neurons-layer",
        )
        sort = gr.Dropdown(
            [(word(f"neurons.sort_{name}"), name) for name in SORTS],
            value=SORTS[0],
            label=word("neurons.sort"),
            min_width=200,
        )
    shared = gr.Checkbox(False, label=word("neurons.shared"), elem_id="lape-neurons-shared")
    line = gr.HTML(status(found), elem_id="lape-neurons-status")
    table = gr.Dataframe(
        **shown,
        label=word("neurons.table"),
        type="array",
        interactive=False,
        max_height=380,
        buttons=["fullscreen"],
        elem_id="lape-neurons-table",
    )

    def listed(visitor: str, codes: Any, at: Any, order: Any, all_of: bool) -> tuple[list[str], int | None, Outputs]:
        loaded = backend.ready(visitor)
        among = checked_languages(codes or [], backend.languages(visitor), least=0)
        chosen = checked_layer(at, loaded.known_mask.shape[0])
        shown, found = _table(loaded, among, checked_sort(order), chosen, shared=all_of)
        return among, chosen, {table: gr.Dataframe(**shown), line: status(found)}

    @failures_to(line)
    def listing(request: gr.Request, codes: Any, at: Any, order: Any, all_of: Any) -> Outputs:
        *_, shown = listed(visitor_of(request), codes, at, order, all_of is True)
        return shown

    @failures_to(line)
    def leading(request: gr.Request, event: gr.EventData) -> Outputs:
        """Lists the neurons that a cell of a figure counts."""
        given, at = clicked(event, "languages"), clicked(event, "layer")
        several = isinstance(given, list) and len(given) > 1
        codes, at, shown = listed(visitor_of(request), given, at, SORTS[0], several)
        return {filtered: codes, layer: ALL_LAYERS if at is None else at, sort: SORTS[0], shared: several, **shown}

    def refresh(visitor: str) -> Outputs:
        """Shows the neurons of the mask in use, all languages."""
        try:
            loaded: Loaded | None = backend.ready(visitor)
        except LapeError:
            loaded = None
        shown, found = _table(loaded, [], SORTS[0])
        return {
            filtered: gr.Dropdown(titles(backend.languages(visitor)), value=[], multiselect=True),
            layer: gr.Dropdown(_layers(loaded), value=ALL_LAYERS),
            sort: SORTS[0],
            shared: False,
            table: gr.Dataframe(**shown),
            line: status(found),
        }

    latest: dict[str, Any] = {"trigger_mode": "always_last"}
    asked: list[Any] = [filtered, layer, sort, shared]
    drawn_to = [*asked, table, line]
    for control in asked:
        control.input(listing, asked, [table, line], preprocess=False, **latest, **QUIET)
    led = gr.on([layers.click, overlap.click], leading, None, drawn_to, **latest, **QUIET)
    led.success(None, None, None, js=TO_IT)
    return Part(refresh, drawn_to), table


def _layers(loaded: Loaded | None) -> list[tuple[str, int]]:
    """The menu of layers."""
    layers = 0 if loaded is None or loaded.mask is None else loaded.mask.shape[0]
    return [(word("neuron.all_layers"), ALL_LAYERS), *((str(layer), layer) for layer in range(layers))]


def _table(
    loaded: Loaded | None, languages: Sequence[str], sort: str, layer: int | None = None, *, shared: bool = False
) -> tuple[dict[str, Any], str]:
    """The table's contents, and how many neurons they are of how many."""
    if loaded is None or loaded.mask is None:
        return {"value": {"headers": _heads(HEADERS), "data": []}, "datatype": "str"}, say("neuron.no_mask")
    table = neuron_table(loaded.mask, loaded.statistics)
    neurons = chosen_neurons(table, languages or None, sort, layer=layer, shared=shared)
    codes = loaded.mask.languages if loaded.statistics is not None else ()
    many = len(codes) > MOST_COLUMNS
    named = [NAME] if loaded.mask.experts > 1 else []
    kinds = [*HEADERS, *named, *([MOST_ACTIVE] if many else codes)]
    types = ["str" if kind in (MOST_ACTIVE, NAME) else "number" for kind in kinds]
    rows = []
    for one in neurons[:ROWS]:
        owners = (languages or loaded.mask.languages) if shared else [one.language]
        name, shares = ([one.name] if named else []), ([_most_active(one)] if many else _shares(one, codes))
        rows.append([*_row(one, owners), *name, *shares])
    headers = _heads([*HEADERS, *named, *([MOST_ACTIVE] if many else ())]) + ([] if many else [*codes])
    contents = {"value": {"headers": headers, "data": rows}, "datatype": ["str", *types[1:]]}
    return contents, say("neuron.shown", shown=len(rows), count=len(neurons))


def _heads(columns: Sequence[str]) -> list[str]:
    return [say(f"neuron.head_{column}") for column in columns]


def _row(neuron: Neuron, languages: Sequence[str]) -> list[Any]:
    figures = [value if value is None else round(value, 3) for value in (neuron.entropy_nats, neuron.mean)]
    return [", ".join(map(name_of, languages)), neuron.layer, neuron.neuron, *figures]


def _shares(neuron: Neuron, codes: Sequence[str]) -> list[float]:
    return [round(neuron.probabilities[code], 2) for code in codes]


def _most_active(neuron: Neuron) -> str:
    """The few languages in which it is active most, in one cell."""
    first = sorted(neuron.probabilities, key=lambda code: -neuron.probabilities[code])[:SHOWN]
    return ", ".join(f"{name_of(code)} {neuron.probabilities[code]:.2f}" for code in first)
