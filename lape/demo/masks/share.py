"""What can be made of a mask: calibrate the one in use, push one of this machine to the Hub."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.checks import checked_line
from lape.demo.masks.listing import HERE, QUIETLY, MaskList, chosen_of
from lape.demo.part import MODEL, Outputs, failures_to, visitor_of
from lape.demo.space import offers_login, on_zero_gpu
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.hub.client import token_place
from lape.masks.bundled import bundled_folder
from lape.masks.calibration import calibrate
from lape.masks.mask import NeuronMask
from lape.recording.corpora import read_corpora
from lape.recording.statistics import ActivationStatistics
from lape.sharing.push import push

WIKIPEDIA = "hf:wikimedia/wikipedia:20231101.{language}"
CALIBRATION_TOKENS = 4096


def build_calibration(backend: Backend) -> Any:
    """Adds the section to the tab that is being built; returns the event after which the mask may be another."""
    with gr.Accordion(word("masks.calibrate"), open=False, visible=not on_zero_gpu(), elem_id="lape-calibration"):
        gr.Markdown(word("masks.calibrate_about"))
        with gr.Row(elem_classes="lape-actions"):
            source = gr.Textbox(
                WIKIPEDIA,
                label=word("masks.text"),
                info=word("masks.text_wikipedia") if backend.shared else word("masks.text_any"),
                interactive=not backend.shared,
                scale=2,
                min_width=240,
            )
            measure = gr.Button(word("masks.calibrate"), min_width=230, scale=0, elem_id="lape-calibrate")
        line = gr.HTML(status(""), elem_id="lape-calibrate-status")

    @failures_to(line)
    def calibrating(request: gr.Request, text: Any, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Outputs:  # noqa: B008
        if on_zero_gpu():
            raise LapeError(say("masks.cannot_calibrate"))
        text = WIKIPEDIA if backend.shared else checked_line(text, "name of the text") or WIKIPEDIA
        visitor = visitor_of(request)
        *_, (mask, statistics) = backend.run(calibrated_on, backend.ready(visitor).known_mask, text)
        backend.change(visitor, lambda loaded: loaded.with_mask(mask, statistics))
        tokens = sum(mask.metadata["calibration"]["tokens"].values())
        return {line: status(say("masks.calibrated", count=tokens))}

    return measure.click(calibrating, source, line, show_progress_on=[line], **QUIETLY, **MODEL)


def build_sharing(backend: Backend, masks: MaskList) -> gr.HTML:
    """Adds the section to the tab that is being built; returns the line that says whose account is used."""
    offered = not backend.shared or offers_login()
    with gr.Accordion(word("masks.share"), open=False, visible=offered, elem_id="lape-share"):
        gr.Markdown(word("masks.share_about"))
        account = gr.HTML(status(account_of(backend.shared)))
        if offers_login():
            gr.LoginButton()
        with gr.Row(elem_classes="lape-actions"):
            repo = gr.Textbox(label=word("masks.push_to"), placeholder="owner/collection", scale=2, min_width=240)
            tag = gr.Textbox(label=word("masks.tag"), placeholder="v1", min_width=120)
            private = gr.Checkbox(False, label=word("masks.private"), info=word("masks.private_info"), min_width=140)
            proposed = gr.Checkbox(
                False, label=word("masks.pull_request"), info=word("masks.pull_request_info"), min_width=140
            )
            share = gr.Button(word("masks.push"), min_width=230, scale=0, elem_id="lape-push")
        line = gr.HTML(status(""), elem_id="lape-push-status")

    @failures_to(line)
    def sharing(
        where: Any, name: Any, to: Any, label: Any, hidden: Any, propose: Any, login: gr.OAuthToken | None
    ) -> Outputs:
        if where != HERE:
            raise LapeError(say("masks.push_here"))
        if backend.shared and (login is None or not login.token):  # without one, it would be the owner's
            raise LapeError(account_of(shared=True))
        pushed = push(
            bundled_folder(*chosen_of(name)),
            checked_line(to, "collection"),
            private=hidden is True or None,
            create_pr=propose is True,
            tag=checked_line(label, "tag") or None,
            token=login.token if login is not None else None,
        )
        return {line: status(pushed.sentence)}

    share.click(sharing, [masks.collection, masks.chosen, repo, tag, private, proposed], line, **QUIETLY)
    return account


def calibrated_on(
    model: PreTrainedModel, tokenizer: Tokenizer, mask: NeuronMask, text: str
) -> Generator[tuple[NeuronMask, ActivationStatistics], None, None]:
    """The work of a calibration."""
    corpora = read_corpora(text, mask.languages)
    yield calibrate(mask, model, tokenizer, corpora, tokens=CALIBRATION_TOKENS)


def account_of(shared: bool) -> str:
    """Whose account a mask is pushed with."""
    if shared and offers_login():
        return say("masks.log_in")
    if shared:
        return say("masks.no_push")
    place = token_place()
    return say("masks.token_of", place=place) if place else say("masks.needs_token")
