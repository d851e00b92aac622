"""What a model can do in each language before anything is switched: which languages a page should offer.

`python -m benchmarks.languages --corpus DIR [--model gemma]` prints, for each language of the folder, the bits per byte
of its held-out text and the share of its openings that the model goes on with in that language. Only the tuning half of
the openings is continued. A language stays where that share is at least one half.
"""

from __future__ import annotations

import argparse

import lape
from lape.evaluation.metrics.conditions import BASELINE, baseline_cases
from lape.evaluation.metrics.continuations import Bench, continue_cases
from lape.evaluation.metrics.language import identifier
from lape.evaluation.metrics.openings import DEV, openings
from lape.evaluation.metrics.perplexity import matrix, text_blocks
from lape.languages import language
from lape.recording.corpora import read_corpora

LEAST_SHARE = 0.5
BLOCK = 128


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--model")
    parser.add_argument("--identifier", default="py3langid")
    parser.add_argument("--tokens", type=int, default=512)
    options = parser.parse_args()
    model, tokenizer = lape.load_model(options.model)
    corpora = read_corpora(options.corpus, split="valid")
    texts = matrix(model, tokenizer, text_blocks(tokenizer, corpora, tokens=options.tokens, block=BLOCK), {})
    bits = {code: found["bits_per_byte"]["value"] for code, found in texts.values()["texts"].items()}
    judge = identifier(options.identifier, corpora)
    cases = {code: baseline_cases({code: openings(code)}, code, (DEV,)) for code in corpora}
    outputs = continue_cases(Bench(model, tokenizer, judge), [case for listed in cases.values() for case in listed])
    print(f"| language | bits per byte | {BASELINE}: goes on in it | |\n|---|---|---|---|")
    for code, listed in cases.items():
        kinds = [output.kind(code, code) for case in listed for output in outputs[case.key]]
        share = kinds.count("target") / len(kinds)
        verdict = "stays" if share >= LEAST_SHARE else "dropped"
        print(f"| {language(code).name} ({code}) | {bits[code]:.2f} | {share:.0%} | {verdict} |")


if __name__ == "__main__":
    main()
