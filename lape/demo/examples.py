"""Opening phrases that the page offers, and what the embedded model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lape.languages import language
from lape.models.embedded import SMOLLM2

TRIED_ON = SMOLLM2.model


@dataclass(frozen=True)
class Example:
    """An opening phrase, and what to expect of it.

    Attributes:
        prompt: The phrase.
        source: Its language.
        target: A language to steer it to.
        seen: Languages of the columns *on*, *off* and *steered* with the embedded model, its bundled mask and the
            defaults, which `tests/demo/test_compare.py` looks after; None for another target.
    """

    prompt: str
    source: str
    target: str
    seen: tuple[str, str, str] | None = None

    @property
    def expected(self) -> str:
        """What to expect, as a sentence; empty where nobody has looked."""
        if self.seen is None:
            return ""
        on, off, steered = (language(code).name for code in self.seen)
        return f"What to expect of the embedded model: on goes on in {on}, off in {off}, steered in {steered}."


EXAMPLES = (
    Example("Il était une fois une petite fille qui vivait", "fr", "es", ("fr", "en", "es")),
    Example("很久很久以前,在一个小村庄里,有一位老人", "zh", "es", ("zh", "en", "es")),
    Example("Había una vez un viejo pescador que vivía", "es", "fr", ("es", "en", "fr")),
    Example("Es war einmal ein alter König, der in einem Schloss", "de", "fr", ("de", "en", "fr")),
    Example("When I opened the window this morning, I saw", "en", "fr", ("en", "en", "fr")),
    Example("Pada suatu hari, seorang anak kecil pergi ke", "id", "es", ("id", "en", "es")),
    Example("C'era una volta un falegname che abitava", "it", "fr", ("en", "en", "fr")),
    Example("Era uma vez um menino que gostava de", "pt", "fr", ("pt", "en", "fr")),
    Example("Жила-была девочка, которая очень любила", "ru", "es", ("ru", "en", "es")),
    Example("むかしむかし、ある小さな村に", "ja", "es", ("ja", "ja", "es")),
)


def examples_for(languages: Sequence[str]) -> list[Example]:
    """The examples whose languages have neurons; the target is swapped for another where only it has none."""
    found = []
    for example in EXAMPLES:
        if example.source in languages:
            others = [code for code in languages if code != example.source]
            known = example.target in others
            found.append(example if known else replace(example, target=others[0], seen=None))
    return found
