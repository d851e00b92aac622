"""The form of evidence of a comparison."""

from __future__ import annotations

from lape.evaluation.kinds.forms import (
    CORPUS,
    FIGURE,
    LANGSPEC,
    MOST_LANGUAGES,
    MOST_MASKS,
    NAMES,
    OUTCOME,
    REASONS,
    SECONDS,
    UNTOLD,
    by_language,
    evidence_form,
)
from lape.storage.schema import COUNT, FLAG, LONG_TEXT, NUMBER, SHARE, TEXT, WRITTEN, listing, mapping, nullable, record

RATIO = record(
    {"value": NUMBER, "own_nats": FIGURE, "floor_nats": NUMBER, "floored": FLAG}, {"low": NUMBER, "high": NUMBER}
)
COSTS = {"dominance": RATIO, "over_control": RATIO, "langspec": LANGSPEC}
MASK = record(
    {
        "method": TEXT,
        "counts": TEXT,
        "neurons": by_language(COUNT, least=1),
        **COSTS,
        "elsewhere": nullable(record(COSTS)),
        "retained_share": FIGURE,
        "identification": nullable(record({"seconds": SECONDS, "peak_bytes": nullable(COUNT)})),
        "halves_agreement": nullable(SHARE),
    }
)
ENTRANT = record(
    {
        "way": TEXT,
        "mask": nullable(TEXT),
        "strength": NUMBER,
        "tried": listing(
            record({"strength": NUMBER, "target_share": FIGURE, "fluency_cost_nats": nullable(FIGURE)}),
            least=1,
            most=MOST_MASKS,
        ),
        "average": OUTCOME,
        "target_shares": by_language(SHARE, least=1),
        "samples": mapping(WRITTEN, most=MOST_LANGUAGES),
    }
)
FORM = evidence_form(
    {
        "source": TEXT,
        "rule": LONG_TEXT,
        "untouched_retained_share": FIGURE,
        "masks": mapping(MASK, least=1, most=MOST_MASKS),
        "entrants": mapping(ENTRANT, least=1, most=MOST_MASKS),
        "front": NAMES,
        "left_out": REASONS,
    },
    {"untold": UNTOLD},
    targets=listing(TEXT, least=1, most=MOST_LANGUAGES),
    identifier=TEXT,
    items=COUNT,
    others=COUNT,
    tokens=COUNT,
    elsewhere=by_language(CORPUS),
)
