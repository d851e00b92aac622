"""What switching a language off costs every language, with controls and rivals."""

from lape.evaluation.kinds.kind import Kind, held_out_text
from lape.evaluation.kinds.perplexity.form import FORM
from lape.evaluation.kinds.perplexity.plan import plan
from lape.evaluation.kinds.perplexity.section import beside, headline, section, tables

KIND = Kind(
    name="perplexity",
    heading="Switched off: what it costs each language",
    command="lape evaluate perplexity",
    options=("corpus", "tokens", "block", "seeds", "rivals"),
    needs=(held_out_text,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=beside,
)
