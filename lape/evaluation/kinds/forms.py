"""The forms of what evidence of every kind holds; those of one kind are beside its record."""

from __future__ import annotations

from collections.abc import Mapping

from lape.evaluation.kinds.wording import OUTCOMES
from lape.storage.schema import (
    COUNT,
    LONG_TEXT,
    NUMBER,
    SHARE,
    TEXT,
    WRITTEN,
    Form,
    is_number,
    listing,
    mapping,
    nullable,
    record,
)

SECONDS = Form("a number from 0", lambda value: is_number(value) and value >= 0)
MOST_LANGUAGES = 200  # of a figure; more cells would be no picture
MOST_MASKS = 100  # that are compared

FIGURE = record({"value": NUMBER}, {"low": nullable(NUMBER), "high": nullable(NUMBER)})
REASONS = mapping(LONG_TEXT, most=MOST_MASKS)
UNTOLD = mapping(LONG_TEXT, most=MOST_LANGUAGES)  # languages, and why the identifier cannot tell them
MASK = record({"sha256": TEXT, "model": TEXT, "method": nullable(TEXT)})
CORPUS = record({"source": TEXT}, {"sha256": TEXT, "questions_sha256": TEXT, "tokens": COUNT})
ENVIRONMENT = record(
    {
        **dict.fromkeys(("lape", "python", "platform", "device"), TEXT),
        "threads": COUNT,
        "packages": mapping(TEXT, most=MOST_MASKS),
    }
)

LANGSPEC = record({"f1": FIGURE, "control_f1": FIGURE})

SETTING = record({"mode": TEXT, "strength": NUMBER}, {"top_rate": nullable(SHARE), "off": nullable(TEXT)})
OUTCOME = record(
    {
        "target_share": FIGURE,
        **{f"{outcome}_share": SHARE for outcome in OUTCOMES[1:]},
        "repeated_4gram_share": SHARE,
        "compression_ratio": NUMBER,
        "fluency_cost_nats": nullable(FIGURE),
    },
    {"sample": WRITTEN},
)
AVERAGE = record({"pairs": COUNT, "conditions": mapping(OUTCOME, least=1, most=MOST_MASKS)})


def by_language(form: Form, least: int = 0) -> Form:
    """Something for each language."""
    return mapping(form, least=least, most=MOST_LANGUAGES)


PAIRS = by_language(
    by_language(record({"setting": SETTING, "conditions": mapping(OUTCOME, least=1, most=MOST_MASKS)}), least=1),
    least=1,
)
AVERAGES = record({"all": AVERAGE, "source": by_language(AVERAGE), "target": by_language(AVERAGE)})


def evidence_form(results: Mapping[str, Form], optional: Mapping[str, Form] | None = None, **settings: Form) -> Form:
    """The form of a file of evidence.

    Args:
        results: What its results must hold.
        optional: What they may hold.
        settings: What its settings must hold, besides the mask.
    """
    return record(
        {
            "kind": TEXT,
            "title": TEXT,
            "summary": LONG_TEXT,
            "settings": record({"mask": MASK, **settings}, {"corpora": by_language(CORPUS)}),
            "environment": ENVIRONMENT,
            "command": LONG_TEXT,
            "seconds": SECONDS,
            "results": record(results, optional),
        }
    )


NAMES = listing(TEXT, most=MOST_MASKS)
