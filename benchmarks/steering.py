"""Does steering change the language? `python -m benchmarks.steering [--sweep]` on the embedded model.

Prints, for one top rate, mode and strength:

- 20 English sentence openings with English off and each target on: share of continuations in the target language,
  the same for a random mask of equal counts per layer, and one continuation, chosen by position and not by looks;
- 10 openings each in fr, es, de, zh: share still in that language with all neurons on, and with its own off.

Greedy, 32 new tokens, repetition penalty 1.1; language by py3langid among the mask's languages. `--sweep` prints the
averages of a grid of top rates, modes and strengths, which is how the page's default was chosen.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from dataclasses import dataclass

import lape
from lape.bundled import STATISTICS_NAME, bundled_folder
from lape.demo.request import DEFAULTS
from lape.evaluation.continuations import Decoding, continue_prompts
from lape.evaluation.language import LanguageIdentifier
from lape.evaluation.openings import openings
from lape.evaluation.repetition import repeated_share

MAIN_TARGETS = ("zh", "fr", "es", "id", "ja", "de", "it", "pt")
MORE_TARGETS = ("vi", "ru", "ko")
OFF_LANGUAGES = ("fr", "es", "de", "zh")
OFF_OPENINGS = 10
DECODING = Decoding(max_new_tokens=32, repetition_penalty=1.1, rows=20)
SAMPLE = 4  # which opening's continuation is shown


def main() -> None:
    """Measures one setting, or a grid of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", action="store_true", help="a grid of settings, averages only")
    parser.add_argument("--top-rate", type=float, nargs="+", help="default: the bundled mask's")
    parser.add_argument("--mode", nargs="+", default=[DEFAULTS.mode])
    parser.add_argument("--strength", type=float, nargs="+", default=[DEFAULTS.strength])
    parser.add_argument("--quantization", help="4bit or 8bit")
    options = parser.parse_args()
    statistics = lape.ActivationStatistics.load(bundled_folder() / STATISTICS_NAME)
    rates = options.top_rate or [lape.NeuronMask.from_pretrained().metadata["settings"]["top_rate"]]
    bench = Bench(statistics, options.quantization)
    if options.sweep:
        print("| top rate | mode | strength | 8 targets | 11 targets | repetition | per target |")
        print("|---|---|---|---|---|---|---|")
        for rate, mode, strength in itertools.product(rates, options.mode, options.strength):
            bench.print_averages(rate, mode, strength)
    else:
        bench.print_tables(rates[0], options.mode[0], options.strength[0])


@dataclass(frozen=True)
class Outputs:
    """Continuations of several prompts under one intervention, the language of each, and its repeated 8-grams."""

    texts: list[str]
    languages: list[str | None]
    repetition: list[float]

    def share(self, language: str) -> float:
        """Share of the texts in a language, of all texts; those too short to say count against it."""
        return self.languages.count(language) / len(self.languages)

    def most_common(self) -> list[tuple[str | None, int]]:
        """Languages by number of texts, most first."""
        return Counter(self.languages).most_common()


class Bench:
    """The embedded model, its statistics, and the language identifier."""

    def __init__(self, statistics: lape.ActivationStatistics, quantization: str | None) -> None:
        self.model, self.tokenizer = lape.load_model(quantization=quantization)
        self.statistics = statistics
        self.identifier = LanguageIdentifier(statistics.languages)

    def run(self, language: str, intervention: lape.Intervention | None, count: int | None = None) -> Outputs:
        """Continues the first openings of a language, or all."""
        texts = continue_prompts(self.model, self.tokenizer, openings(language)[:count], intervention, DECODING)
        languages = [self.identifier.identify(text).language for text in texts]
        return Outputs(texts, languages, [repeated_share(text) for text in texts])

    def steer(self, mask: lape.NeuronMask, target: str, mode: str, strength: float) -> Outputs:
        """Continues the English openings with English off and the target on."""
        return self.run("en", lape.Intervention(mask, off="en", on=target, mode=mode, strength=strength))

    def print_averages(self, rate: float, mode: str, strength: float) -> None:
        """One row of the sweep."""
        mask = lape.identify(self.statistics, top_rate=rate)
        runs = {target: self.steer(mask, target, mode, strength) for target in MAIN_TARGETS + MORE_TARGETS}
        shares = {target: run.share(target) for target, run in runs.items()}
        listed = " ".join(f"{target} {share:.2f}" for target, share in shares.items())
        repetition = average([average(run.repetition) for run in runs.values()])
        print(
            f"| {rate:g} | {mode} | {strength:g} | {average([shares[code] for code in MAIN_TARGETS]):.3f} "
            f"| {average(shares.values()):.3f} | {repetition:.2f} | {listed} |",
            flush=True,
        )

    def print_tables(self, rate: float, mode: str, strength: float) -> None:
        """The steering table with its control and samples, and the off table."""
        mask = lape.identify(self.statistics, top_rate=rate)
        control = mask.random_like(self.statistics, seed=0)
        print(f"Top rate {rate:g}, mode {mode}, strength {strength:g}; opening shown: {openings('en')[SAMPLE]!r}\n")
        print("| target | in target | random control | most common | repetition | sample |")
        print("|---|---|---|---|---|---|")
        steered, random = {}, {}
        for target in MAIN_TARGETS + MORE_TARGETS:
            run = self.steer(mask, target, mode, strength)
            steered[target] = run.share(target)
            random[target] = self.steer(control, target, mode, strength).share(target)
            common = ", ".join(f"{language or 'too short'} {count}" for language, count in run.most_common()[:2])
            sample = " ".join(run.texts[SAMPLE].split()).replace("|", "\\|")
            print(
                f"| {target} | {steered[target]:.2f} | {random[target]:.2f} | {common} "
                f"| {average(run.repetition):.2f} | {sample} |",
                flush=True,
            )
        for name, codes in (("8 main targets", MAIN_TARGETS), ("all 11 targets", MAIN_TARGETS + MORE_TARGETS)):
            shares = average([steered[code] for code in codes]), average([random[code] for code in codes])
            print(f"| **{name}** | **{shares[0]:.3f}** | **{shares[1]:.3f}** | | | |")

        print("\n| language | on: still in it | off: still in it | off: most common |")
        print("|---|---|---|---|")
        on, off = {}, {}
        for code in OFF_LANGUAGES:
            on[code] = self.run(code, None, OFF_OPENINGS).share(code)
            run = self.run(code, lape.Intervention(mask, off=code), OFF_OPENINGS)
            off[code] = run.share(code)
            common = ", ".join(f"{language or 'too short'} {count}" for language, count in run.most_common()[:2])
            print(f"| {code} | {on[code]:.2f} | {off[code]:.2f} | {common} |", flush=True)
        print(f"| **average** | **{average(on.values()):.3f}** | **{average(off.values()):.3f}** | |")


def average(values) -> float:
    """The arithmetic mean."""
    listed = list(values)
    return sum(listed) / len(listed)


if __name__ == "__main__":
    main()
