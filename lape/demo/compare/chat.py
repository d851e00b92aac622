"""Conversations: in a chat, every column keeps its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lape.demo.compare.request import CompareRequest
from lape.evaluation.metrics.openings import instructions
from lape.generation.prompts import Prompt
from lape.languages import language

TURNS = 8  # of a conversation that are kept; a question and its answer are one

Message = dict[str, str]
Talks = Mapping[str, tuple[Message, ...]]  # by column


def prompts_of(request: CompareRequest, names: Sequence[str], talks: Talks) -> dict[str, Prompt]:
    """What each column is given: the prompt, in a chat after what was said in this column before."""
    found: dict[str, Prompt] = {}
    for name in names:
        text = f"{instruction(request)}\n\n{request.prompt}" if name == "plain" else request.prompt
        found[name] = [*talks.get(name, ()), {"role": "user", "content": text}] if request.chat else text
    return found


def instruction(request: CompareRequest) -> str:
    """How the column *plain* asks for the language in words: the one to keep, else the first target."""
    target = request.keep or request.targets[0]
    return f"Answer in {language(target).name}." if request.chat else instructions(target)["english"]


def continued(talks: Talks, request: CompareRequest, answers: Mapping[str, str]) -> Talks:
    """The conversations of the columns with one turn more, where it was answered; the oldest turns are forgotten."""
    asked = prompts_of(request, list(answers), talks)
    found = {}
    for name, answer in answers.items():
        said = [dict(message) for message in asked[name] if not isinstance(message, str)]
        answered = (*said, {"role": "assistant", "content": answer})[-2 * TURNS :]
        found[name] = answered if answer.strip() else tuple(talks.get(name, ()))
    return found
