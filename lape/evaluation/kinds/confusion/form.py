"""The form of evidence of language confusion."""

from __future__ import annotations

from lape.evaluation.kinds.confusion.section import RATES
from lape.evaluation.kinds.forms import (
    FIGURE,
    MOST_LANGUAGES,
    MOST_MASKS,
    UNTOLD,
    by_language,
    evidence_form,
)
from lape.evaluation.metrics.confusion.prompts import TASKS
from lape.storage.schema import COUNT, FLAG, NUMBER, SHARE, TEXT, WRITTEN, listing, mapping, nullable, record

PASSED = record({"judged": COUNT, **dict.fromkeys((f"{rate}_pass_rate" for rate in RATES), nullable(FIGURE))})
AVERAGE = {
    "judged": COUNT,
    **dict.fromkeys((*(f"{rate}_pass_rate" for rate in RATES), "line_pass_change"), nullable(FIGURE)),
    "repeated_4gram_share": SHARE,
    "fluency_cost_nats": nullable(FIGURE),
}
TASK = record(
    {
        "languages": by_language(
            record(
                {
                    "prompts": COUNT,
                    "conditions": mapping(record({**AVERAGE, "sample": WRITTEN}), least=1, most=MOST_MASKS),
                }
            ),
            least=1,
        ),
        "averages": mapping(record(AVERAGE), least=1, most=MOST_MASKS),
    }
)
FORM = evidence_form(
    {
        "tasks": mapping(TASK, least=1, most=len(TASKS)),
        "too_long": COUNT,
        "with_dictionary": FLAG,
        "without_prompts": listing(TEXT, most=MOST_LANGUAGES),
    },
    {
        "untold": UNTOLD,
        "second_opinion": nullable(
            record({"identifier": TEXT, "tasks": mapping(mapping(PASSED, most=MOST_MASKS), most=len(TASKS))})
        ),
    },
    identifier=TEXT,
    items=COUNT,
    mode=TEXT,
    strength=NUMBER,
    decoding=record({"max_new_tokens": COUNT}),
)
