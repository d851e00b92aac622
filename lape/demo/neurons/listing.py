"""The neurons one by one: a table, and one of them at work in sample texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
import torch

from lape.demo.backend import Backend
from lape.demo.languages import titles
from lape.demo.loaded import Loaded
from lape.demo.neurons.figures import activity_figure
from lape.demo.neurons.look import seeing
from lape.demo.neurons.request import checked_languages, checked_neuron, checked_sort
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import word
from lape.errors import LapeError
from lape.evaluation.metrics.openings import openings
from lape.inspection.activations import Activations
from lape.inspection.table import SORTS, Neuron, activity, chosen_neurons, neuron_table
from lape.languages import language
from lape.masks.indices import neuron_name

ROWS = 200  # sent to the browser at most
HEADERS = ("language", "layer", "neuron", "entropy", "mean")
NAME = "name"  # the column of a mixture of experts
LAYER, NEURON = 1, 2  # columns of the table
MOST_COLUMNS = 12  # languages with a column each
MOST_ACTIVE, SHOWN = "most active in", 4  # the column of more languages, and how many of them it names
SAMPLES = 4
DEEPEST = 0.6  # strength of the strongest color, on which text can still be read
WITHOUT = "Without statistics beside the mask it is not known how active this neuron is in each language."


def build_list(backend: Backend) -> Part:
    """Adds the section to the gradio page that is being built."""
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
        )
        sort = gr.Dropdown(
            [(word(f"neurons.sort_{name}"), name) for name in SORTS],
            value=SORTS[0],
            label=word("neurons.sort"),
            min_width=200,
        )
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
    with gr.Row(elem_classes="lape-actions"):
        layer = gr.Number(None, label=word("neurons.layer"), precision=0, minimum=0, min_width=120)
        neuron = gr.Number(None, label=word("neurons.neuron"), precision=0, minimum=0, min_width=120)
        show = gr.Button(word("neurons.show"), min_width=190, scale=0, elem_id="lape-neuron-show")
        doing = gr.HTML(status(""), elem_id="lape-neuron-status", min_width=240)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            figure = gr.HTML("", elem_id="lape-neuron-figure")
        with gr.Column(scale=3, min_width=320):
            samples = gr.HighlightedText(
                label=word("neurons.samples"),
                visible=False,
                elem_id="lape-neuron-samples",
                elem_classes="lape-tokens",
            )

    @failures_to(line)
    def listing(request: gr.Request, codes: Any, order: Any) -> Outputs:
        visitor = visitor_of(request)
        among = checked_languages(codes or [], backend.languages(visitor), least=0)
        shown, found = _table(backend.ready(visitor), among, checked_sort(order))
        return {table: gr.Dataframe(**shown), line: status(found)}

    @failures_to(doing)
    def picking(request: gr.Request, event: gr.EventData) -> Outputs:
        """Takes the neuron of a row of the table, however the browser has sorted it."""
        data = event._data
        row = data.get("row_value") if isinstance(data, dict) else None
        if not isinstance(row, list) or len(row) <= NEURON:
            raise LapeError("Choose a row of the table.")
        shape = backend.ready(visitor_of(request)).known_mask.shape
        chosen = checked_neuron(_whole(row[LAYER]), _whole(row[NEURON]), shape)
        return {layer: chosen[0], neuron: chosen[1]}

    @failures_to(doing, {figure: "", samples: gr.update(visible=False)})
    def drawing(request: gr.Request, at_layer: Any, at_neuron: Any) -> Outputs:
        """What the statistics say of the neuron, at once."""
        loaded = backend.ready(visitor_of(request))
        place = checked_neuron(at_layer, at_neuron, loaded.known_mask.shape)
        return {figure: _figure(loaded, *place), doing: status("Waiting for the model…")}

    @failures_to(doing)
    def sampling(request: gr.Request, at_layer: Any, at_neuron: Any) -> Iterator[Outputs]:
        """The neuron at work."""
        loaded = backend.ready(visitor_of(request))
        place = checked_neuron(at_layer, at_neuron, loaded.known_mask.shape)
        texts = _samples(loaded, *place)
        if not texts:
            raise LapeError("There are no sample texts in the languages of this mask.")
        yield {doing: status("Reading…")}
        flat = torch.tensor([place[0] * loaded.known_mask.shape[1] + place[1]])
        seen = []
        for one in backend.run(seeing, tuple(texts.values()), flat):
            if one is None:  # it waits for the model
                yield {doing: gr.skip()}
            else:
                seen.append(one)
        peak = max(float(one.values.max()) for one in seen)
        said = f"{_title(loaded, *place)}: its highest activation here is {peak:.2f}."
        yield {samples: _highlighted([*texts], seen), doing: status(said)}

    def refresh(visitor: str) -> Outputs:
        """Shows the neurons of the mask in use, all languages."""
        try:
            shown, found = _table(backend.ready(visitor), [], SORTS[0])
        except LapeError:
            shown, found = _table(None, [], SORTS[0])
        return {
            filtered: gr.Dropdown(titles(backend.languages(visitor)), value=[], multiselect=True),
            sort: SORTS[0],
            table: gr.Dataframe(**shown),
            line: status(found),
            figure: "",
            samples: gr.HighlightedText(None, visible=False),
            doing: status(""),
        }

    latest: dict[str, Any] = {"trigger_mode": "always_last"}  # arrow keys go through the table quickly
    for control in (filtered, sort):
        control.input(listing, [filtered, sort], [table, line], preprocess=False, **latest, **QUIET)
    picked = table.select(picking, None, [layer, neuron, doing], **latest, **QUIET)
    place, drawn_to = [layer, neuron], [figure, samples, doing]
    for asked in (picked.then, show.click):
        drawn = asked(drawing, place, drawn_to, preprocess=False, **latest, **QUIET)
        drawn.then(
            sampling,
            place,
            drawn_to,
            preprocess=False,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=[doing],
            **latest,
            **MODEL,
        )
    return Part(refresh, [filtered, sort, table, line, *drawn_to])


def _table(loaded: Loaded | None, languages: Sequence[str], sort: str) -> tuple[dict[str, Any], str]:
    """The table's contents, and how many neurons they are of how many."""
    if loaded is None or loaded.mask is None:
        return {"value": {"headers": [*HEADERS], "data": []}, "datatype": "str"}, "There is no mask."
    neurons = chosen_neurons(neuron_table(loaded.mask, loaded.statistics), languages or None, sort)
    codes = loaded.mask.languages if loaded.statistics is not None else ()
    many = len(codes) > MOST_COLUMNS
    named = [NAME] if loaded.mask.experts > 1 else []
    headers = [*HEADERS, *named, *([MOST_ACTIVE] if many else codes)]
    types = ["str" if header in (MOST_ACTIVE, NAME) else "number" for header in headers]
    rows = [
        [*_row(one), *([one.name] if named else []), *([_most_active(one)] if many else _shares(one, codes))]
        for one in neurons[:ROWS]
    ]
    contents = {"value": {"headers": headers, "data": rows}, "datatype": ["str", *types[1:]]}
    return contents, f"{len(rows):,} of {len(neurons):,} neurons."


def _row(neuron: Neuron) -> list[Any]:
    figures = [value if value is None else round(value, 3) for value in (neuron.entropy_nats, neuron.mean)]
    return [language(neuron.language).name, neuron.layer, neuron.neuron, *figures]


def _shares(neuron: Neuron, codes: Sequence[str]) -> list[float]:
    return [round(neuron.probabilities[code], 2) for code in codes]


def _most_active(neuron: Neuron) -> str:
    """The few languages in which it is active most, in one cell."""
    first = sorted(neuron.probabilities, key=lambda code: -neuron.probabilities[code])[:SHOWN]
    return ", ".join(f"{language(code).name} {neuron.probabilities[code]:.2f}" for code in first)


def _whole(value: object) -> object:
    """A number that the browser sends as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value


def _title(loaded: Loaded, layer: int, neuron: int) -> str:
    mask = loaded.known_mask
    if mask.experts == 1:
        return f"Layer {layer}, neuron {neuron}"
    return f"Layer {layer}, neuron {neuron} ({neuron_name(layer, neuron, mask.shape[1], mask.experts)})"


def _figure(loaded: Loaded, layer: int, neuron: int) -> str:
    mask = loaded.known_mask
    if loaded.statistics is None:
        return status(WITHOUT)
    owners = [code for code in mask.languages if [layer, neuron] in mask.neurons[code].tolist()]
    return activity_figure(
        _title(loaded, layer, neuron), owners, activity(loaded.statistics, mask.languages, layer, neuron)
    )


def _samples(loaded: Loaded, layer: int, neuron: int) -> dict[str, str]:
    """A text in each of the languages in which the neuron is most active, and in that in which it is least."""
    codes = [code for code in loaded.known_mask.languages if _written(code)]
    if loaded.statistics is not None:
        found = activity(loaded.statistics, codes, layer, neuron)
        codes.sort(key=lambda code: -found[code].probability)
    chosen = [*codes[: SAMPLES - 1], *codes[SAMPLES - 1 :][-1:]]
    return {code: openings(code)[1] for code in chosen}


def _written(code: str) -> bool:
    """Whether there are sample texts in a language."""
    try:
        return len(openings(code)) > 1
    except LapeError:
        return False


def _highlighted(codes: Sequence[str], seen: Sequence[Activations]) -> gr.HighlightedText:
    """Texts under each other, each token as strong as the neuron is active at it."""
    most = max(float(one.values.abs().max()) for one in seen) or 1.0
    value: list[tuple[str, str | float | None]] = []
    for code, one in zip(codes, seen, strict=True):
        value.append((f"{language(code).name}: ", None))
        strengths = (one.by_piece(one.values)[:, 0] / most * DEEPEST).tolist()
        value += zip(one.pieces, strengths, strict=True)
        value.append(("\n", None))
    return gr.HighlightedText(value[:-1], visible=True)
