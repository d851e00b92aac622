"""The columns on show token by token: how likely each is in its own column and to the untouched model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import fsum
from typing import Any

import gradio as gr
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.compare.columns import title_of
from lape.demo.compare.export import Comparison
from lape.demo.compare.inside import Steps, build_inside, passages_of
from lape.demo.compare.variants import Variants
from lape.demo.part import Outputs
from lape.demo.words import say
from lape.drawing.charts import number
from lape.generation.prompts import Prompt
from lape.inspection.tokens import Choice, TokenCost, token_costs

FULL_NATS = 5.0  # of a cost in the full colour
NOTHING = "∅"  # in the place of a token that is no text


def build_tokens(backend: Backend, seen: gr.State) -> Outputs:
    """Adds the section to the page that is being built, as `build_inside`; `seen` is the run on show."""
    return build_inside(backend, seen, "tokens", reading, drawn)


def reading(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Prompt],
    texts: Mapping[str, Any],
    variants: Variants,
) -> Steps:
    """The work: the tokens of every column."""
    passages = passages_of(model, tokenizer, prompts, texts)
    yield 0, 1, None
    yield 1, 1, token_costs(model, tokenizer, passages, variants)


def drawn(run: Comparison, found: Mapping[str, Sequence[TokenCost]]) -> str:
    """The text of each column with its tokens coloured by their cost, the sums, and all figures in a table."""
    shown = "".join(_column(title_of(name, run.request), tokens) for name, tokens in found.items())
    scale = "".join(
        f'<span class="lape-token" style="{_look(nats)}">{escape(_signed(nats))}</span>' for nats in (-5, -2, 0, 2, 5)
    )
    return f'<p class="lape-facts">{escape(say("tokens.scale"))} {scale}</p>{shown}'


def _column(title: str, tokens: Sequence[TokenCost]) -> str:
    own, untouched = (fsum(values) for values in zip(*((each.own, each.untouched) for each in tokens), strict=True))
    count = len(tokens)
    sums = say(
        "tokens.sums",
        count=count,
        own=number(own / count, 2),
        untouched=number(untouched / count, 2),
        cost=_signed((own - untouched) / count),
        total=_signed(own - untouched),
    )
    spans = "".join(
        f'<span class="lape-token" title="{escape(_told(each))}" style="{_look(each.cost)}">{escape(each.text)}</span>'
        for each in tokens
        if each.text
    )
    return (
        f'<h3 class="lape-caption">{escape(title)}</h3><p class="lape-facts">{escape(sums)}</p>'
        f'<p class="lape-costs" dir="auto">{spans}</p>{_table(title, tokens)}'
    )


def _table(title: str, tokens: Sequence[TokenCost]) -> str:
    """The figures for those who do not point."""
    names = ("token", "own", "untouched", "cost", "instead", "instead_untouched")
    head = "".join(f"<th scope=col>{escape(say(f'tokens.{name}'))}</th>" for name in names)
    rows = "".join(
        f'<tr><th scope=row dir="auto">{escape(each.text or NOTHING)}</th><td>{number(each.own, 2)}</td>'
        f"<td>{number(each.untouched, 2)}</td><td>{_signed(each.cost)}</td>"
        f'<td dir="auto">{escape(_choices(each.own_choices))}</td>'
        f'<td dir="auto">{escape(_choices(each.untouched_choices))}</td></tr>'
        for each in tokens
    )
    return (
        f"<details><summary>{escape(say('inside.table'))}</summary>"
        f'<div class="lape-scroll" tabindex="0" role="region" aria-label="{escape(title)}"><div class="lape-table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></div></details>"
    )


def _told(token: TokenCost) -> str:
    """What a token says when it is pointed at."""
    return "\n".join(
        [
            say(
                "tokens.told", own=number(token.own, 2), untouched=number(token.untouched, 2), cost=_signed(token.cost)
            ),
            f"{say('tokens.instead')}: {_choices(token.own_choices)}",
            f"{say('tokens.instead_untouched')}: {_choices(token.untouched_choices)}",
        ]
    )


def _choices(choices: Sequence[Choice]) -> str:
    return ", ".join(f"“{choice.text}” {number(choice.log_probability, 2)}" for choice in choices)


def _signed(nats: float) -> str:
    shown = number(nats, 2)
    return f"+{shown}" if nats > 0 and float(f"{nats:.2f}") else shown


def _look(nats: float) -> str:
    """Orange for what the untouched model finds less likely, blue for what it finds likelier."""
    share = min(1.0, abs(nats) / FULL_NATS)
    return f"--cost:{'var(--lape-target)' if nats > 0 else 'var(--lape-source)'};--share:{60 * share:.0f}%"
