"""The first opening of every language, steered to the next language: a table that nobody chose lines for.

`python -m benchmarks.openings [--model gemma]` prints it as Markdown, with the settings that the page opens with. The
next language is that of the next code in the alphabet.
"""

from __future__ import annotations

import argparse
import html

import lape
from lape.evaluation.metrics.language import identifier
from lape.evaluation.metrics.openings import openings
from lape.languages import base_language, language

NEW_TOKENS = 24


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    options = parser.parse_args()
    model, tokenizer = lape.load_model(options.model)
    mask = lape.NeuronMask.from_pretrained(model=options.model)
    codes = sorted(mask.languages)
    following = dict(zip(codes, [*codes[1:], *codes[:1]], strict=True))
    prompts = [openings(code)[0] for code in codes]
    plan = [lape.Intervention(mask, off=code, on=following[code]) for code in codes]
    *_, last = lape.generate_rows(model, tokenizer, prompts, plan, max_new_tokens=NEW_TOKENS)
    told = identifier("py3langid", codes)
    print("| opening | steered to | goes on | told as |\n|---|---|---|---|")
    for source, prompt, text in zip(codes, prompts, last.texts.values(), strict=True):
        target = following[source]
        found = told.identify(text)
        code = None if found.gibberish else found.language
        name = language(code).name if code else "no language"
        hit = code is not None and base_language(code) == base_language(target)
        print(f"| {prompt} | {language(target).name} | {_cell(text)} | {name if hit else f'**{name}**'} |")


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table, as it is: breaks of lines as spaces, markup as text."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    main()
