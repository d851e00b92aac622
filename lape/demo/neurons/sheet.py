"""What is told of one neuron, as HTML in which every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from lape.demo.languages import is_rtl, name_of
from lape.demo.neurons.pointed import pointed, tip_line
from lape.demo.words import say
from lape.inspection.profiles import Neighbour
from lape.inspection.writes import Written, WrittenToken
from lape.languages import by_family
from lape.recording.top_texts import TopText, TopTexts

SOURCES = 3  # of texts that are named


def address(name: str) -> str:
    """The query of the page of a neuron."""
    return f"?{urlencode({'neuron': name})}"


def written_sheet(written: Written, upright: float | None) -> str:
    """The tokens that a neuron raises and lowers, and what the numbers are.

    Args:
        written: What it writes.
        upright: The share of tokens of the samples at which it writes that way round, of those where it is active.
    """
    raised = _tokens(say("neuron.raised"), written.raised)
    lowered = _tokens(say("neuron.lowered"), written.lowered)
    how = say("neuron.writes_how")
    if written.gated:
        how += f" {say('neuron.gated')}"
        how += "" if upright is None else f" {say('neuron.upright', share=f'{upright:.0%}')}"
    return f'{_heading("writes")}{raised}{lowered}<p class="lape-note">{escape(how)}</p>'


def texts_sheet(found: TopTexts | None, texts: Sequence[TopText], *, shown: bool) -> str:
    """The texts that fire a neuron most, or why there are none.

    Args:
        found: What was recorded beside the mask.
        texts: Those of the neuron.
        shown: Whether they may be shown here.
    """
    if found is None or not shown or not texts:
        reason = "missing" if found is None else "none" if shown else "hidden"
        return f'{_heading("texts")}<p class="lape-note">{escape(say(f"neuron.texts_{reason}"))}</p>'
    corpora = found.metadata.get("corpora", {}).values()
    sources = list(dict.fromkeys(str(part.get("source")) for parts in corpora for part in parts))[:SOURCES]
    said = say("neuron.texts_from", source=", ".join(sources), licence=found.licence or "–")
    rows = "".join(
        f"<tr><td>{text.value:.2f}</td><td>{escape(name_of(text.language))}</td>"
        f'<td dir="{"rtl" if is_rtl(text.language) else "ltr"}">{escape(text.before)}<mark>{escape(text.token)}</mark>'
        f"{escape(text.after)}</td></tr>"
        for text in texts
    )
    return (
        f'{_heading("texts")}<div class="lape-scroll"><table class="lape-tops"><tbody>{rows}</tbody></table></div>'
        f'<p class="lape-note">{escape(said)}</p>'
    )


def neighbours_sheet(neighbours: Sequence[Neighbour], languages: Sequence[str]) -> str:
    """The neurons of like profile, each with its likeness and a link, and its profile where one points at it.

    Args:
        neighbours: Most alike first.
        languages: Those of the profiles, in their order.
    """
    if not neighbours:
        return ""
    cells = "".join(
        f'<a class="lape-chip" href="{escape(address(one.name))}"'
        f"{pointed(_profile(one, languages), first=at == 0, neuron=one.name)}>{one.name} "
        f"<small>{one.similarity:.3f}</small></a> "
        for at, one in enumerate(neighbours)
    )
    return f'{_heading("neighbours")}<p class="lape-chips">{cells}</p>{tip_line(say("neuron.neighbours_how"))}'


def links_sheet(name: str, switch: str | None) -> str:
    """The address of a neuron's page, and that of a comparison which switches it alone."""
    links = [(address(name), say("neuron.link"))] + ([(switch, say("neuron.switch"))] if switch else [])
    return f'<p class="lape-chips">{"".join(_link(*link) for link in links)}</p>'


def switch_address(name: str, languages: Sequence[str], first: str, prompt: str | None) -> str:
    """The query of a comparison that switches one neuron alone.

    Args:
        name: Of the neuron.
        languages: Of the mask, two at least.
        first: Code of the language whose prompt it goes on with.
        prompt: In that language; None leaves the page's own.
    """
    other = next(code for code in languages if code != first)
    values = {"lape": "1", "only": name, "source": first, "targets": other}
    return f"?{urlencode(values | ({'prompt': prompt} if prompt else {}))}"


def _link(query: str, text: str) -> str:
    return f'<a class="lape-chip" href="{escape(query)}">{escape(text)}</a> '


def _heading(name: str) -> str:
    return f"<h3>{escape(say(f'neuron.{name}_heading'))}</h3>"


def _tokens(title: str, tokens: Sequence[WrittenToken]) -> str:
    cells = "".join(
        f'<span class="lape-chip"><bdi>{escape(_visible(token.text))}</bdi> <small>{token.score:+.1f}</small></span> '
        for token in tokens
    )
    return f'<p class="lape-chips"><b>{escape(title)}</b> {cells}</p>'


def _visible(text: str) -> str:
    """A token's text, of which blanks and breaks can be seen."""
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def _profile(neighbour: Neighbour, languages: Sequence[str]) -> str:
    shares = dict(zip(languages, neighbour.probabilities, strict=True))
    first = sorted(by_family(languages), key=lambda code: -shares[code])[:4]
    return f"{neighbour.name}: {', '.join(f'{name_of(code)} {shares[code]:.1%}' for code in first)}"
