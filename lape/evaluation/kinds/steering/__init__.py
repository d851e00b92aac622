"""Which language the model answers in when another's neurons are on, for every pair of languages."""

from lape.evaluation.kinds.kind import Kind, means_of_all
from lape.evaluation.kinds.steering.form import FORM
from lape.evaluation.kinds.steering.plan import plan
from lape.evaluation.kinds.steering.section import headline, section, tables

KIND = Kind(
    name="steering",
    heading="Switched on: the language of the output",
    command="lape evaluate steering",
    options=(
        *("corpus", "source", "sources", "shift_items", "mode", "strength", "top_rate", "off"),
        *("prompts", "identifier", "max_new_tokens"),
    ),
    needs=(means_of_all,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
