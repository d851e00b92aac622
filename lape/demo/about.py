"""The About tab: the method, what the columns mean, limits, citations, and what runs here."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.part import Outputs, Part
from lape.demo.status import facts
from lape.demo.words import say, word
from lape.doctor import versions
from lape.models.embedded import GEMMA
from lape.models.identity import identity
from lape.models.machine import Machine, this_machine

FORMULAS: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]
SHELL = """\
lape record --model Qwen/Qwen3-0.6B --corpus hf:wikimedia/wikipedia:20231101.{language} --languages en,fr,zh --out out
lape identify out --top-rate 0.01
lape generate "Il était une fois" --model Qwen/Qwen3-0.6B --mask out --off fr --on zh"""
PYTHON = """\
import lape
model, tokenizer = lape.load_model(); mask = lape.NeuronMask.from_pretrained()
variants = {"on": None, "steered": lape.Intervention(mask, off="fr", on="es")}
*_, last = lape.side_by_side(model, tokenizer, "Il était une fois", variants); print(last.texts)"""


def build_about(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(word("about.what"))
    gr.Markdown(word("about.links"))
    with gr.Row():
        with gr.Column(min_width=320):
            gr.Markdown(word("about.method"), latex_delimiters=FORMULAS)
            gr.Markdown(word("about.switching"), latex_delimiters=FORMULAS)
        with gr.Column(min_width=320):
            gr.Markdown(word("about.columns"))
            gr.Markdown(word("about.limits"))
    gr.Markdown(word("about.use"))
    # Not gr.Code, which measures its lines while the tab is hidden; not coloured, which is too pale to read.
    gr.Markdown(f"```text\n{SHELL}\n```")
    gr.Markdown(word("about.python"))
    gr.Markdown(f"```text\n{PYTHON}\n```")
    gr.Markdown(word("about.licences"))
    gr.Markdown(GEMMA.notice_markdown)
    gr.Markdown(word("about.citations"))
    gr.Markdown((files("lape.sharing") / "citation.md").read_text(encoding="utf-8"))
    gr.Markdown(word("about.here"))
    machine = this_machine()
    running = gr.HTML(_running(backend.loaded, machine), elem_id="lape-running")
    gr.HTML(facts(*(f"{name} {version}" for name, version in versions().items())), elem_id="lape-versions")

    def refresh(visitor: str) -> Outputs:
        return {running: _running(backend.visitors.shown(visitor).loaded, machine)}

    return Part(refresh, [running])


def _running(loaded: Loaded | None, machine: Machine) -> str:
    """The model and the machine in small facts: no path, no setting, nothing of who runs it."""
    texts = [say("about.no_model")]
    if loaded is not None:
        made = identity(loaded.model)
        parameters = loaded.model.num_parameters()
        texts = [
            loaded.name.replace("\\", "/").rpartition("/")[2],
            say("about.parameters", millions=round(parameters / 1e6)),
            made.quantization or made.dtype,
            say("about.on_device", device=loaded.model.device.type),
        ]
    texts.append(machine.name)
    texts += [say("about.gpu_memory", size=round(bytes_ / 1e9)) for bytes_ in machine.gpu_total]
    return facts(*texts)
