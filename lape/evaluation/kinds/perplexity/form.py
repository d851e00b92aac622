"""The form of evidence of what switching a language off costs."""

from __future__ import annotations

from lape.evaluation.kinds.forms import FIGURE, LANGSPEC, MOST_MASKS, NAMES, REASONS, by_language, evidence_form
from lape.evaluation.kinds.perplexity.section import UNITS
from lape.storage.schema import COUNT, FLAG, NUMBER, TEXT, mapping, record

_OWN = {"value": NUMBER, "floor_nats": NUMBER, "floored": FLAG, "own_nats": FIGURE}
MASK_COSTS = record(
    {
        "neurons": by_language(COUNT),
        "off": by_language(by_language(record(dict.fromkeys(UNITS, FIGURE)))),
        "dominance": record({**_OWN, "others_nats": FIGURE}),
    },
    {"over_control": record({**_OWN, "control_nats": FIGURE}), "langspec": LANGSPEC},
)
FORM = evidence_form(
    {
        "texts": by_language(record({"tokens": COUNT, "bits_per_byte": FIGURE})),
        "masks": mapping(MASK_COSTS, least=1, most=MOST_MASKS),
        "controls": NAMES,
    },
    {"left_out": REASONS},
    mask_name=TEXT,
    masks=NAMES,
    block=COUNT,
)
