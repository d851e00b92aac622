"""What a visitor asks of a comparison, checked; its defaults and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch

from lape.demo.checks import (
    PROMPT_CHARACTERS,
    STRENGTH,
    Limit,
    checked_line,
    checked_mode,
    checked_name,
    checked_number,
    checked_text,
    shown_value,
)
from lape.demo.examples import EXAMPLES, examples_for
from lape.demo.languages import name_of
from lape.demo.loaded import OWN, Loaded
from lape.demo.words import say
from lape.errors import LapeError
from lape.generation import settings
from lape.generation.edits import Positions
from lape.generation.settings import Mode, layer_range
from lape.masks.indices import named_neuron
from lape.masks.mask import NeuronMask

MOST_TARGETS = 4  # columns of one batch that fit a page
MEAN = "mean"
OFF_VALUES = ("0", MEAN)
NEURONS = "neurons"  # what is switched, in the place of a way of moving the residual stream


@dataclass(frozen=True)
class CompareRequest:
    """One comparison; the defaults are what the page opens with.

    Attributes:
        prompt: Text to continue, or the user's message in a chat.
        source: The prompt's language: its neurons go off.
        targets: The languages to steer to, one column each: its neurons go on.
        strength: Factor of the mode.
        mode: How neurons are switched on: `replace`, `add` or `scale`.
        max_new_tokens: Tokens per column.
        temperature: 0 is greedy.
        top_p: Share of probability to sample from.
        repetition_penalty: 1 is none.
        seed: Of the sampling noise and of the random control.
        show_random: Whether to add the column with as many random neurons as the first steered one changes.
        chat: Whether the prompt goes through the model's chat template.
        show_plain: Whether to add the column that is only asked for the first target, in words.
        method: What chose the neurons: one of the mask's rivals, or `OWN` for the mask as it is.
        switching: `NEURONS`, or the way of moving the residual stream to the first target in a column more.
        layers: Those whose neurons are switched, such as `5-12`; empty is all of them.
        positions: Where they are switched: `all`, the `prompt`, or what is `generated` after it.
        off_value: What a neuron that is off does: nothing (`0`), or its `mean` over other languages.
        only: Names of neurons, such as `23.476`, in the place of the languages' own; empty is those.
        keep: A language, or empty: a column more with its neurons on and those of all others off.
    """

    prompt: str = EXAMPLES[0].prompt
    source: str = EXAMPLES[0].source
    targets: tuple[str, ...] = (EXAMPLES[0].target,)
    strength: float = settings.STRENGTH
    mode: Mode = settings.MODE
    max_new_tokens: int = settings.MAX_NEW_TOKENS
    temperature: float = settings.TEMPERATURE
    top_p: float = settings.TOP_P
    repetition_penalty: float = settings.REPETITION_PENALTY
    seed: int = settings.SEED
    show_random: bool = False
    chat: bool = False
    show_plain: bool = False
    method: str = OWN
    switching: str = NEURONS
    layers: str = ""
    positions: Positions = "all"
    off_value: str = "0"
    only: str = ""
    keep: str = ""


DEFAULTS = CompareRequest()
FIELDS = (*vars(DEFAULTS),)


LIMITS = {
    "strength": STRENGTH,
    "max_new_tokens": Limit("New tokens", 1, 256, 1, whole=True),
    "temperature": Limit("Temperature", 0, 2, 0.05),
    "top_p": Limit("Top-p", 0.05, 1, 0.05),
    "repetition_penalty": Limit("Repetition penalty", 1, 2, 0.05),
    "seed": Limit("Seed", 0, 2**32 - 1, 1, whole=True),
}


def opening(languages: Sequence[str]) -> CompareRequest:
    """What the page opens with when a mask has these languages: the defaults, as far as they are among them."""
    if len(languages) < 2:
        return DEFAULTS
    for example in examples_for(languages):
        return replace(DEFAULTS, prompt=example.prompt, source=example.source, targets=(example.target,))
    return replace(DEFAULTS, prompt="", source=languages[0], targets=(languages[1],))


def request_for(loaded: Loaded, values: Mapping[str, Any]) -> CompareRequest:
    """Builds a request from untrusted values, for a model and its mask.

    Raises:
        LapeError: As `checked`, there are no such layers or neurons, or what was recorded does not give the method's
            neurons or the means that are asked for.
    """
    mask = loaded.known_mask
    request = checked(mask.languages, values, chat=loaded.chat, methods=loaded.rivals, ways=loaded.ways)
    layer_range(request.layers, mask.shape[0])
    only_neurons(request.only, mask)
    if request.off_value == MEAN and loaded.statistics is None:
        raise LapeError(say("asked.no_means"))
    loaded.by_method(request.method)
    return request


def only_neurons(names: str, mask: NeuronMask) -> torch.Tensor | None:
    """The neurons of a list of names, `[n, 2]` in their order in the model; None of an empty one.

    Raises:
        LapeError: The model has none of a name.
    """
    if not names:
        return None
    found = {named_neuron(name, mask.shape, mask.experts) for name in names.split(",")}
    return torch.tensor(sorted(found), dtype=torch.int32)


def checked(
    languages: Sequence[str],
    values: Mapping[str, Any],
    *,
    chat: bool = False,
    methods: Sequence[str] = (),
    ways: Sequence[str] = (),
) -> CompareRequest:
    """Builds a request from untrusted values.

    Args:
        languages: Codes that have neurons.
        values: A value of any kind for every field of `CompareRequest`; fields left out take their default.
        chat: Whether the model has a chat template.
        methods: What can choose the neurons in the mask's place.
        ways: Those of moving the residual stream.

    Raises:
        LapeError: A value is not what it should be; one sentence that says what is allowed.
    """
    given = vars(DEFAULTS) | {name: values[name] for name in FIELDS if name in values}
    _check_prompt(given["prompt"])
    source = checked_name("prompt's language", given["source"], languages)
    given["targets"] = _targets(given["targets"], languages)
    if source in given["targets"]:
        raise LapeError(say("asked.same", language=name_of(source)))
    given["mode"] = checked_mode(given["mode"])
    given["method"] = checked_name("method", given["method"], (OWN, *methods))
    given["switching"] = checked_name("way of switching", given["switching"], (NEURONS, *ways))
    given["positions"] = checked_name("positions", given["positions"], get_args(Positions))
    given["off_value"] = checked_name("off value", given["off_value"], OFF_VALUES)
    given["layers"], given["only"] = (checked_line(given[name], name) for name in ("layers", "only"))
    if given["keep"]:
        checked_name("language to keep", given["keep"], languages)
    given["keep"] = given["keep"] or ""
    for name in ("show_random", "show_plain", "chat"):
        if not isinstance(given[name], bool):
            raise LapeError(say("asked.true_or_false", name=name, value=shown_value(given[name])))
    if given["chat"] and not chat:
        raise LapeError(say("asked.no_chat"))
    return CompareRequest(**{**given, **{name: checked_number(LIMITS[name], given[name]) for name in LIMITS}})


def _check_prompt(prompt: object) -> None:
    if not checked_text("prompt", prompt, PROMPT_CHARACTERS).strip():
        raise LapeError(say("asked.no_prompt"))


def _targets(codes: object, languages: Sequence[str]) -> tuple[str, ...]:
    """One code or several, each once."""
    if not isinstance(codes, list | tuple):
        return (checked_name("language to steer to", codes, languages),)
    if not 1 <= len(codes) <= MOST_TARGETS:
        raise LapeError(say("asked.targets", most=MOST_TARGETS, count=len(codes)))
    return tuple(dict.fromkeys(checked_name("language to steer to", code, languages) for code in codes))
