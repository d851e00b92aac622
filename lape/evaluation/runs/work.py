"""What is asked for, and a measurement that is ready to be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lape.errors import LapeError
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.conditions import Off
from lape.evaluation.metrics.continuations import Decoding
from lape.evaluation.metrics.tune import OFFS, STRENGTHS, TOP_RATES
from lape.generation.settings import Mode
from lape.masks.mask import NeuronMask

COUNTS = ("equal", "own")


@dataclass(frozen=True)
class Options:
    """How much is measured, and how; every kind of evidence reads what it needs.

    Attributes:
        tokens: Of held-out text for each language.
        block: Tokens per block.
        seeds: How many random masks are the control of costs and of lost answers.
        rivals: Names of the masks whose costs are measured beside; None takes all there are.
        items: Per language: questions of the next-line check, lines told by firing, prompts of each file of confusion.
        seed: Of questions, lines, prompts and resamples.
        compare: Folders of masks whose places are compared.
        prompts: File or folder of openings, None takes those of the project; of confusion, the benchmark's folder.
        facts: File of relations with their questions; None takes those of the project.
        identifier: Name of the language identifier.
        max_new_tokens: Of each output.
        output_seeds: Of the random controls of outputs.
        instructed: Whether plain instructions are measured too.
        source: Language that tuning and the language-shift score start from.
        sources: Languages that steering starts from; empty takes all that have openings.
        shift_items: Paragraphs of each pair for the language-shift score.
        mode, strength, top_rate, off: How to steer; None takes what tuning chose, of confusion what the page does.
        top_rates, strengths, offs: That tuning tries; of a comparison, strengths by way of switching.
        methods: Of identification that are compared; None takes those whose recording is there.
        ways: Of switching that are compared; None takes those that have what they need.
        counts: How many neurons the compared masks have: as many as the given mask, and by the method's own cut.
        most_cost: Fluency cost, in nats per token, that its common setting may have; None allows any.
    """

    tokens: int = 2048
    block: int = 128
    seeds: int = 5
    rivals: Sequence[str] | None = None
    items: int = 20
    seed: int = 0
    compare: tuple[Path, ...] = ()
    prompts: str | None = None
    facts: str | None = None
    identifier: str = "py3langid"
    max_new_tokens: int = Decoding.max_new_tokens
    output_seeds: tuple[int, ...] = (0,)
    instructed: bool = True
    source: str = "en"
    sources: Sequence[str] = ()
    shift_items: int = 20
    mode: Mode | None = None
    strength: float | None = None
    top_rate: float | None = None
    off: Off | None = None
    top_rates: Sequence[float] = TOP_RATES
    strengths: Mapping[Any, Sequence[float]] = field(default_factory=lambda: STRENGTHS)
    offs: Sequence[Off] = OFFS
    most_cost: float | None = None
    methods: Sequence[str] | None = None
    ways: Sequence[str] | None = None
    counts: Sequence[str] = COUNTS

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise LapeError(
                f"Figures without a random control mean little: seeds must be at least 1, not {self.seeds}."
            )
        if self.items < 2:
            raise LapeError(f"An interval needs 2 items or more, not {self.items}.")

    def others(self) -> dict[str, NeuronMask]:
        """The masks of `compare`, named by model and method, or by their folder where two have the same."""
        masks: dict[str, NeuronMask] = {}
        for folder in self.compare:
            mask = NeuronMask.load(folder)
            name = f"{Path(str(mask.metadata.get('model'))).name} {mask.metadata.get('method')}"
            masks[folder.name if name in masks else name] = mask
        return masks

    @property
    def decoding(self) -> Decoding:
        """How outputs are made."""
        return Decoding(self.max_new_tokens)


@dataclass(frozen=True)
class Work:
    """A measurement that is ready to be made: everything has been checked, nothing computed.

    Attributes:
        title: Of the evidence.
        settings: Everything that decides its results.
        cells: How many it will ask for, at most.
        measure: Gives the results.
        summary: Says them in a sentence.
    """

    title: str
    settings: Mapping[str, Any]
    cells: int
    measure: Callable[[Cells], dict[str, Any]]
    summary: Callable[[dict[str, Any]], str]
