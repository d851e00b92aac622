"""The form of evidence of steering."""

from __future__ import annotations

from lape.evaluation.kinds.forms import (
    AVERAGES,
    FIGURE,
    MOST_LANGUAGES,
    MOST_MASKS,
    PAIRS,
    SETTING,
    UNTOLD,
    by_language,
    evidence_form,
)
from lape.storage.schema import COUNT, LONG_TEXT, SHARE, TEXT, listing, mapping, nullable, record

SHIFT = mapping(record({"lss": FIGURE, "shift_nats": FIGURE}), least=1, most=MOST_MASKS)
KEPT = record({"retained_share": FIGURE})
RETENTION = record(
    {
        "languages": by_language(
            record(
                {
                    "neurons": COUNT,
                    "conditions": mapping(
                        record({"retained_share": FIGURE, "languages": by_language(COUNT)}), most=MOST_MASKS
                    ),
                }
            )
        ),
        "averages": mapping(KEPT, least=1, most=MOST_MASKS),
    }
)
SECOND = record({"target_share": SHARE, "differs_share": SHARE})
FORM = evidence_form(
    {
        "pairs": PAIRS,
        "averages": AVERAGES,
        "language_retention": RETENTION,
        "setting": SETTING,
        "without_openings": listing(TEXT, most=MOST_LANGUAGES),
    },
    {
        "lss": nullable(record({"pairs": by_language(by_language(record({"conditions": SHIFT}))), "averages": SHIFT})),
        "lss_left_out": nullable(LONG_TEXT),
        "untold": UNTOLD,
        "second_opinion": nullable(record({"identifier": TEXT, "conditions": mapping(SECOND, most=MOST_MASKS)})),
    },
    openings=by_language(record({"count": COUNT})),
    decoding=record({"max_new_tokens": COUNT}),
    identifier=TEXT,
)
