"""One neuron: how active it is in each language, where it fires, what it writes, and which ones are like it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import gradio as gr
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.checks import checked_line
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.neurons.address import TO_IT
from lape.demo.neurons.figures import activity_figure
from lape.demo.neurons.look import seeing
from lape.demo.neurons.pointed import POINTED, clicked
from lape.demo.neurons.request import checked_neuron, whole
from lape.demo.neurons.sheet import links_sheet, neighbours_sheet, switch_address, texts_sheet, written_sheet
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError, UnsupportedArchitecture
from lape.evaluation.metrics.openings import openings
from lape.inspection.activations import Activations, ActiveNeurons
from lape.inspection.profiles import neighbours
from lape.inspection.table import activity
from lape.inspection.writes import Written, writes, written_inputs
from lape.masks.indices import named_neuron, neuron_name
from lape.recording.top_texts import top_texts_beside

LAYER, NEURON = 1, 2  # columns of the table
SAMPLES = 4
DEEPEST = 0.6  # strength of the strongest color, on which text can still be read
WRITTEN = 12  # tokens of either list


def build_neuron(backend: Backend, table: gr.Dataframe, colored: gr.HTML, kept: gr.State) -> Part:
    """Adds the section to the gradio page that is being built.

    Args:
        backend: What the page serves.
        table: A row of it leads here.
        colored: So does a token of the visitor's text.
        kept: What the neurons do in that text.
    """
    with gr.Column(elem_id="lape-neuron"):
        gr.Markdown(word("neuron.heading"), elem_classes="lape-section")
        with gr.Row(elem_classes="lape-actions"):
            name = gr.Textbox(
                label=word("neurons.neuron"),
                info=word("neuron.name_info"),
                max_lines=1,
                min_width=160,
                elem_id="lape-neuron-name",
            )
            show = gr.Button(word("neurons.show"), min_width=190, scale=0, elem_id="lape-neuron-show")
            run = gr.Button(visible="hidden", elem_id="lape-neuron-run")  # what `OPEN` presses
            doing = gr.HTML(status(""), elem_id="lape-neuron-status", min_width=240)
        links = gr.HTML("", elem_id="lape-neuron-links")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                figure = gr.HTML("", elem_id="lape-neuron-figure")
            with gr.Column(scale=3, min_width=320):
                written = gr.HTML("", elem_id="lape-neuron-written")
                samples = gr.HighlightedText(
                    label=word("neurons.samples"),
                    visible=False,
                    elem_id="lape-neuron-samples",
                    elem_classes="lape-tokens",
                )
                texts = gr.HTML("", elem_id="lape-neuron-texts")
                near = gr.HTML("", js_on_load=POINTED, elem_id="lape-neuron-near")
    asked = gr.State(None)  # the model and the neuron on show
    nothing: Outputs = {figure: "", links: "", texts: "", near: "", written: "", samples: gr.update(visible=False)}

    failing = failures_to(doing, {**nothing, asked: None})

    def chosen(request: gr.Request, given: str) -> Outputs:
        loaded = backend.ready(visitor_of(request))
        mask = loaded.known_mask
        layer, neuron = named_neuron(given, mask.shape, mask.experts)
        found = neuron_name(layer, neuron, mask.shape[1], mask.experts)
        return {name: found, asked: (loaded.name, found), doing: status(say("said.waiting"))}

    @failing
    def naming(request: gr.Request, given: Any) -> Outputs:
        """Takes what was written."""
        return chosen(request, checked_line(given, "name of a neuron"))

    @failing
    def leading(request: gr.Request, event: gr.EventData) -> Outputs:
        """Takes the neuron that a click leads to."""
        return chosen(request, checked_line(clicked(event, "neuron"), "name of a neuron"))

    @failing
    def picking(request: gr.Request, event: gr.EventData) -> Outputs:
        """Takes the neuron of a row of the table, however the browser has sorted it."""
        row = clicked(event, "row_value")
        if not isinstance(row, list) or len(row) <= NEURON:
            raise LapeError("Choose a row of the table.")
        mask = backend.ready(visitor_of(request)).known_mask
        place = checked_neuron(whole(row[LAYER]), whole(row[NEURON]), mask.shape)
        return chosen(request, neuron_name(*place, mask.shape[1], mask.experts))

    @failing
    def arrive(request: gr.Request) -> Outputs:
        """Shows the neuron of an address, if the page was opened with one; `OPEN` then has it run."""
        given = dict(request.query_params or {}).get("neuron")
        if given is None:
            return {}
        found = chosen(request, given)
        return found | told(backend.ready(visitor_of(request)), found[name])

    def told(loaded: Loaded, given: str) -> Outputs:
        """What is known of a neuron without the model."""
        mask = loaded.known_mask
        place = named_neuron(given, mask.shape, mask.experts)
        order = _by_activity(loaded, *place)
        switch = switch_address(given, mask.languages, order[0], _opening(order[0]))
        found = top_texts_beside(loaded.place) if loaded.place is not None else None
        if found is not None and (found.shape != mask.shape or found.metadata.get("model") != loaded.name):
            found = None
        may = found is not None and (found.licence is not None or not backend.shared)
        of_neuron = found.texts(loaded.tokenizer, *place) if found is not None and may else ()
        alike = () if loaded.statistics is None else neighbours(loaded.statistics, mask.languages, *place)
        return {
            figure: _figure(loaded, *place),
            links: links_sheet(given, switch),
            texts: texts_sheet(found, of_neuron, shown=may),
            near: neighbours_sheet(alike, mask.languages),
        }

    @failures_to(doing, nothing)
    def drawing(request: gr.Request, of: Any) -> Outputs:
        """What is known of the neuron, at once."""
        if of is None:
            return {doing: gr.skip()}
        return {**nothing, **told(backend.ready(visitor_of(request)), of[1])}

    @failures_to(doing)
    def sampling(request: gr.Request, of: Any, read: Any) -> Iterator[Outputs]:
        """The neuron at work, and what it writes."""
        if of is None:
            yield {doing: gr.skip()}
            return
        loaded = backend.ready(visitor_of(request))
        mask = loaded.known_mask
        place = named_neuron(of[1], mask.shape, mask.experts)
        sampled = _samples(loaded, None if read is None else read[1], *place)
        yield {doing: status(say("neuron.reading"))}
        seen: list[Activations] = []
        upright: float | None = None
        sheet = ""
        for one in backend.run(working, tuple(sampled.values()), *place, mask.shape[1]):
            if one is None:  # it waits for the model
                yield {doing: gr.skip()}
            elif isinstance(one, Activations):
                seen.append(one)
            elif isinstance(one, float):
                upright = one
            else:
                sheet = written_sheet(one, upright) if isinstance(one, Written) else status(one)
        if not seen:
            yield {written: sheet}
            raise LapeError(say("neuron.no_samples"))
        peak = max(float(one.values.max()) for one in seen)
        said = say("neuron.peak", name=_title(loaded, *place), peak=f"{peak:.2f}")
        yield {written: sheet, samples: _highlighted([*sampled], seen), doing: status(said)}

    def refresh(visitor: str, of: Any = None) -> Outputs:
        """Shows the same neuron beside another mask; nothing of another model."""
        try:
            loaded = backend.ready(visitor)
            if of is not None and of[0] == loaded.name:
                return told(loaded, of[1])
        except LapeError:
            pass
        return {**nothing, asked: None, name: "", doing: status("")} if of is not None else {}

    latest: dict[str, Any] = {"trigger_mode": "always_last"}  # arrow keys go through the table quickly
    taken = [name, asked, doing, *nothing]

    def run_after(drawn: Callable[..., Any]) -> None:
        """Runs the neuron that is shown, after an event."""
        drawn(None, None, None, js=TO_IT)
        drawn(
            sampling,
            [asked, kept],
            [doing, written, samples],
            preprocess=False,
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=[doing],
            **latest,
            **MODEL,
        )

    def follow(picked: Any) -> None:
        """Shows the neuron that an event has taken."""
        run_after(picked.then(drawing, asked, [doing, *nothing], preprocess=False, **latest, **QUIET).then)

    run_after(run.click)
    follow(gr.on([show.click, name.submit], naming, name, taken, preprocess=False, **latest, **QUIET))
    follow(table.select(picking, None, taken, **latest, **QUIET))
    follow(gr.on([colored.click, near.click], leading, None, taken, **latest, **QUIET))
    return Part(refresh, taken, arrive=arrive, inputs=(asked,))


def working(
    model: PreTrainedModel, tokenizer: Tokenizer, texts: Sequence[str], layer: int, neuron: int, width: int
) -> Generator[Activations | Written | float | str, None, None]:
    """The work: what a neuron does in each of some texts, then what it writes, or why that is not told.

    In between, the share of its active tokens at which it raises what it is said to raise; none where it is not active.
    """
    flat = torch.tensor([layer * width + neuron])
    try:
        written = writes(model, tokenizer, layer, neuron, tokens=WRITTEN)
    except UnsupportedArchitecture as error:
        yield from seeing(model, tokenizer, texts, flat)
        yield str(error)
        return
    signs = []
    with written_inputs(model, layer, neuron) as inputs:
        for seen in seeing(model, tokenizer, texts, flat):
            active = seen.values[:, 0] > 0
            signs.append(inputs[-1][-len(active) :][active] > 0)
            yield seen
    if len(found := torch.cat(signs)):
        yield float(found.float().mean())
    yield written


def _title(loaded: Loaded, layer: int, neuron: int) -> str:
    mask = loaded.known_mask
    named = f" ({neuron_name(layer, neuron, mask.shape[1], mask.experts)})" if mask.experts > 1 else ""
    return say("neuron.title", layer=str(layer), neuron=str(neuron)) + named


def _figure(loaded: Loaded, layer: int, neuron: int) -> str:
    mask = loaded.known_mask
    if loaded.statistics is None:
        return status(say("neuron.without"))
    owners = [code for code in mask.languages if [layer, neuron] in mask.neurons[code].tolist()]
    return activity_figure(
        _title(loaded, layer, neuron), owners, activity(loaded.statistics, mask.languages, layer, neuron)
    )


def _by_activity(loaded: Loaded, layer: int, neuron: int) -> list[str]:
    """The mask's languages, those first in which the neuron is most active, where that is known."""
    codes = [*loaded.known_mask.languages]
    if loaded.statistics is None:
        return codes
    found = activity(loaded.statistics, codes, layer, neuron)
    return sorted(codes, key=lambda code: -found[code].probability)


def _samples(loaded: Loaded, text: ActiveNeurons | None, layer: int, neuron: int) -> dict[str, str]:
    """The visitor's text, one in each language in which the neuron is most active, and one where it is least."""
    codes = [code for code in _by_activity(loaded, layer, neuron) if _opening(code)]
    chosen = [*codes[: SAMPLES - 1], *codes[SAMPLES - 1 :][-1:]]
    own = {} if text is None else {say("neuron.own_text"): "".join(text.pieces)}
    return own | {name_of(code): str(_opening(code)) for code in chosen}


def _opening(code: str) -> str | None:
    """A sample text in a language, where there is one."""
    try:
        return openings(code)[1]
    except (LapeError, IndexError):
        return None


def _highlighted(names: Sequence[str], seen: Sequence[Activations]) -> gr.HighlightedText:
    """Texts under each other, each token as strong as the neuron is active at it."""
    most = max(float(one.values.abs().max()) for one in seen) or 1.0
    value: list[tuple[str, str | float | None]] = []
    for name, one in zip(names, seen, strict=True):
        value.append((f"{name}: ", None))
        strengths = (one.by_piece(one.values)[:, 0] / most * DEEPEST).tolist()
        value += zip(one.pieces, strengths, strict=True)
        value.append(("\n", None))
    return gr.HighlightedText(value[:-1], visible=True)
