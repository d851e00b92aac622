"""The language of the columns on show as the layers build it: what each layer would say if it were the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

import gradio as gr
from babel import Locale
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.compare.columns import title_of
from lape.demo.compare.export import Comparison
from lape.demo.compare.inside import Steps, build_inside, passages_of
from lape.demo.compare.variants import Variants
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.part import Outputs
from lape.demo.words import say, tongue
from lape.drawing.stacks import stacked_shares
from lape.generation.prompts import Prompt
from lape.inspection.layers import LayerTokens, layer_tokens, leading
from lape.models.residual import residual_stream
from lape.recording.vocabulary import TokenLanguages, vocabulary_beside

PIVOT = "en"  # through which models may work in any language
SCRIPTS = 4  # that are drawn one by one
OTHERS = ""  # in the place of the name of what is drawn together
SHOWN = 3  # of the likeliest tokens, where a layer is pointed at
Found = Mapping[str, Sequence[LayerTokens]]  # column to layers


def build_layers(backend: Backend, seen: gr.State) -> Outputs:
    """Adds the section to the page that is being built, as `build_inside`; `seen` is the run on show."""
    return build_inside(backend, seen, "layers", reading, drawn, lambda loaded: (_languages_of(loaded),))


def reading(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Prompt],
    texts: Mapping[str, Any],
    variants: Variants,
    known: TokenLanguages | None,
) -> Steps:
    """The work: what each layer would say in every column."""
    passages = passages_of(model, tokenizer, prompts, texts)
    total = residual_stream(model).shape[0]
    yield 0, total, None
    found: dict[str, list[LayerTokens]] = {name: [] for name in passages}
    for done, layer in enumerate(layer_tokens(model, tokenizer, passages, variants, known), start=1):
        for name, said in layer.items():
            found[name].append(said)
        yield done, total, found if done == total else None


def drawn(run: Comparison, found: Found) -> str:
    """A picture of each column by language, and by script below, with the figures in a table."""
    told = any(said.languages for layers in found.values() for said in layers)
    by_script = _pictures(run, found, _scripts(found), "scripts")
    if not told:
        return f'<p class="lape-facts">{escape(say("layers.no_counts"))}</p>{by_script}'
    codes = dict.fromkeys([run.request.source, *run.request.targets, PIVOT])
    return (
        f"{_pictures(run, found, {code: name_of(code) for code in codes}, 'languages')}"
        f"<details><summary>{escape(say('layers.by_script'))}</summary>{by_script}</details>"
    )


@lru_cache(maxsize=4)
def _known(place: Path) -> TokenLanguages | None:
    counts = vocabulary_beside(place)
    return None if counts is None else counts.token_languages()


def _languages_of(loaded: Loaded) -> TokenLanguages | None:
    """Which language each token is of, as far as that was counted beside the mask in use."""
    return None if loaded.place is None else _known(loaded.place)


def _pictures(run: Comparison, found: Found, names: Mapping[str, str], kind: str) -> str:
    """A picture of each column, on one scale.

    Args:
        run: On show.
        found: Column to layers.
        names: What is drawn one by one: languages or scripts, by the name they have for people.
        kind: `languages` or `scripts`, of a layer.
    """
    styles = {name: f"share{place}" for place, name in enumerate(names)} | {OTHERS: "others"}
    named = {**names, OTHERS: say(f"layers.other_{kind}")}
    bars = {column: [_gathered(getattr(said, kind), names) for said in layers] for column, layers in found.items()}
    highest = max((sum(bar.values()) for layers in bars.values() for bar in layers), default=0.0)
    most = max(0.1, ceil(highest * 10 - 1e-9) / 10)
    key = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{styles[name]}" width="10" height="10"/></svg>'
        f"{escape(shown)}</li>"
        for name, shown in named.items()
    )
    figures = []
    for column, layers in found.items():
        title = title_of(column, run.request)
        lead = leading(layers) if kind == "languages" else None
        drawn_bars = bars[column]
        picture = stacked_shares(
            drawn_bars,
            [_told(layer, said, drawn_bars[layer], named) for layer, said in enumerate(layers)],
            styles,
            label=f"{title}: {_led(layers)}" if kind == "languages" else title,
            across=say("layers.layer"),
            up=say("layers.share"),
            most=most,
            mark=lead[1] if lead is not None and lead[1] else None,
        )
        words = f" {escape(_led(layers))}" if kind == "languages" else ""
        table = _table(title, layers, drawn_bars, named) if kind == "languages" else ""
        figures.append(f"<figure><figcaption><b>{escape(title)}</b>{words}</figcaption>{picture}{table}</figure>")
    return f'<div class="lape-stacks"><ul class="lape-key">{key}</ul><div>{"".join(figures)}</div></div>'


def _gathered(shares: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """The shares of some names, and of all others together."""
    found = {name: shares[name] for name in names if name in shares}
    return found | {OTHERS: sum(share for name, share in shares.items() if name not in names)}


def _scripts(found: Found) -> dict[str, str]:
    """The scripts that occur most, with their names."""
    total = Counter[str]()
    for layers in found.values():
        for said in layers:
            total.update(said.scripts)
    codes = {name: code for code, name in Locale.parse("en").scripts.items()}
    names = Locale.parse(tongue()).scripts
    return {name: str(names.get(codes.get(name, ""), name)) for name, _ in total.most_common(SCRIPTS)}


def _led(layers: Sequence[LayerTokens]) -> str:
    """Which language leads at the end, since which layer, and which did before."""
    lead = leading(layers)
    if lead is None:
        return say("layers.none_leads")
    code, first = lead
    before = leading(layers[:first])
    if before is None:
        return say("layers.leads", language=name_of(code), layer=first, last=len(layers) - 1)
    return say("layers.leads_after", language=name_of(code), layer=first, before=name_of(before[0]), since=before[1])


def _told(layer: int, said: LayerTokens, bar: Mapping[str, float], named: Mapping[str, str]) -> str:
    """What a layer says when it is pointed at."""
    shares = [f"{named[name]} {_percent(share)}" for name, share in bar.items() if share]
    tokens = " ".join(f"“{token}”" for token in said.likeliest[:SHOWN])
    return "\n".join([f"{say('layers.layer')} {layer}: {', '.join(shares)}", f"{say('layers.likeliest')}: {tokens}"])


def _table(
    title: str, layers: Sequence[LayerTokens], bars: Sequence[Mapping[str, float]], named: Mapping[str, str]
) -> str:
    """The figures for those who do not point."""
    head = [say("layers.layer"), *named.values(), say("layers.undecided"), say("layers.letterless")]
    cells = "".join(f"<th scope=col>{escape(name)}</th>" for name in [*head, say("layers.likeliest")])
    rows = []
    for layer, (said, bar) in enumerate(zip(layers, bars, strict=True)):
        shares = [*(bar.get(name, 0.0) for name in named), said.letters - sum(bar.values()), 1 - said.letters]
        figures = "".join(f"<td>{_percent(max(0.0, share))}</td>" for share in shares)
        tokens = escape(" ".join(f"“{token}”" for token in said.likeliest[:SHOWN]))
        rows.append(f'<tr><th scope=row>{layer}</th>{figures}<td dir="auto">{tokens}</td></tr>')
    return (
        f"<details><summary>{escape(say('inside.table'))}</summary>"
        f'<div class="lape-scroll" tabindex="0" role="region" aria-label="{escape(title)}"><div class="lape-table">'
        f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></div></details>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
