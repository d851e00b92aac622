"""Which language a model answers in when neurons are switched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import unknown_label
from lape.evaluation.language import LanguageIdentifier
from lape.evaluation.repetition import repeated_share
from lape.generation import generate_rows
from lape.interventions import Intervention


@dataclass(frozen=True)
class Outputs:
    """Continuations of several prompts under one intervention.

    Attributes:
        texts: One per prompt.
        languages: Language of each text; None where it is too short to say.
        repetition: Share of repeated 8-grams of each text.
    """

    texts: tuple[str, ...]
    languages: tuple[str | None, ...]
    repetition: tuple[float, ...]

    def share(self, language: str) -> float:
        """Share of the texts in a language, of all texts; those too short to say count against it."""
        return self.languages.count(language) / len(self.languages)

    def most_common(self) -> list[tuple[str | None, int]]:
        """Languages by number of texts, most first."""
        return Counter(self.languages).most_common()


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    intervention: Intervention | None,
    identifier: LanguageIdentifier,
    **settings: Any,
) -> Outputs:
    """Continues prompts in one batch under an intervention and identifies the language of each continuation.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Texts to continue.
        intervention: None for the untouched model.
        identifier: Which languages to choose from.
        **settings: As for `generate_rows`.
    """
    *_, last = generate_rows(model, tokenizer, prompts, intervention, **settings)
    texts = tuple(last.texts[row] for row in range(len(prompts)))
    languages = tuple(identifier.identify(text).language for text in texts)
    return Outputs(texts, languages, tuple(repeated_share(text) for text in texts))


def openings(language: str) -> list[str]:
    """Sentence openings in a language, written for this project.

    Raises:
        UnknownLabel: There are none in that language.
    """
    everything: Mapping[str, list[str]] = json.loads((files("lape.data") / "openings.json").read_text("utf-8"))
    if language not in everything:
        raise unknown_label("language with sentence openings", language, everything)
    return everything[language]
