"""Whether answers keep to the language that was asked for, by the Language Confusion Benchmark."""

from lape.evaluation.kinds.confusion.form import FORM
from lape.evaluation.kinds.confusion.plan import benchmark_named, plan
from lape.evaluation.kinds.confusion.section import headline, section, tables
from lape.evaluation.kinds.kind import Kind, means_of_all

KIND = Kind(
    name="confusion",
    heading="Asked for a language: does the answer keep to it",
    command="lape evaluate confusion",
    options=("prompts", "items", "mode", "strength", "identifier", "max_new_tokens"),
    needs=(benchmark_named, means_of_all),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
