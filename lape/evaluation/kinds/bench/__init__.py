"""Methods that find neurons and ways of switching the language, compared on equal terms."""

from lape.evaluation.kinds.bench.form import FORM
from lape.evaluation.kinds.bench.plan import plan
from lape.evaluation.kinds.bench.section import headline, section, tables
from lape.evaluation.kinds.kind import Kind, held_out_text, means_of_all, source_in_mask

KIND = Kind(
    name="bench",
    heading="Compared: who finds the neurons, who switches the language, at what cost",
    command="lape bench",
    options=(
        *("corpus", "elsewhere", "recordings", "source", "methods", "counts", "ways", "strengths", "items"),
        *("tokens", "block", "seeds", "prompts", "identifier", "max_new_tokens"),
    ),
    needs=(held_out_text, means_of_all, source_in_mask),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
