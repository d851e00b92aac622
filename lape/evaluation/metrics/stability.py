"""How far a mask depends on the text it was made from: agreement of two halves, and a bootstrap over blocks.

Both work on the counts of groups of blocks that a recording keeps (`lape.recording.groups`), so nothing is recorded
again. A mask's neurons are always those the method selects from counts alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from lape.errors import LapeError, MaskMismatch
from lape.evaluation.metrics.cells import Cells, Compute, fresh, one_by_one
from lape.identify import identify
from lape.masks.indices import jaccard
from lape.masks.mask import NeuronMask
from lape.recording.groups import BlockGroups

Agreement = dict[str, float | None]

ENOUGH = 0.8  # mean Jaccard with the full mask that counts as the same mask
OFTEN = 0.9  # a neuron selected in this share of the resamples counts as certain


def agreement(one: NeuronMask, other: NeuronMask, languages: Sequence[str] | None = None) -> Agreement:
    """Jaccard index of each language's neurons; None where neither mask has any, which says nothing.

    Args:
        one: A mask.
        other: Of a model of the same shape.
        languages: Of both masks; None takes those of `one`.

    Example:
        >>> mask = NeuronMask({"fr": torch.tensor([[0, 3]]), "ko": torch.empty(0, 2).int()}, {}, (2, 4))
        >>> agreement(mask, mask)
        {'fr': 1.0, 'ko': None}
    """
    found: Agreement = {}
    for code in one.languages if languages is None else languages:
        mine, theirs = one.flat(code), other.flat(code)
        found[code] = jaccard(mine, theirs)
    return found


def mean_agreement(by_language: Mapping[Any, float | None]) -> float | None:
    """Mean over the languages that have a value; None when none has."""
    values = [value for value in by_language.values() if value is not None]
    return sum(values) / len(values) if values else None


def halves_agreement(
    groups: BlockGroups, blocks: int | None = None, languages: Sequence[str] | None = None, **method: Any
) -> Agreement:
    """Agreement of the masks of the even and of the odd blocks.

    Args:
        groups: From a recording.
        blocks: The snapshot to end at; None takes all blocks.
        languages: The languages to tell apart; None is all.
        **method: `method`, a name of `identify`, and settings of that method.
    """
    even, odd = (identify(groups.half(which, blocks), languages=languages, **method) for which in (0, 1))
    return agreement(even, odd)


def stability(
    groups: BlockGroups,
    method: str = "lape",
    languages: Sequence[str] | None = None,
    *,
    cells: Cells = fresh,
    **settings: Any,
) -> dict[str, Any]:
    """How a mask depends on the number of tokens, at each snapshot of a recording and at its end.

    Args:
        groups: From a recording.
        method: Of identification, one that reads counts only.
        languages: The languages to tell apart; None is all.
        cells: Keeps each point, so that a run that was stopped goes on.
        **settings: Of the method.

    Returns:
        method: its name
        settings: the given ones
        full_tokens: language code -> tokens of the whole recording
        points: for each snapshot, and last for the whole recording,
            tokens: per language, as far as it has so many
            half_tokens: of the smaller of the two halves
            halves: language code -> Jaccard index of the masks of two disjoint, interleaved halves of these tokens
            halves_mean: over languages
            to_full: language code -> Jaccard index of the mask of these tokens and the one of all tokens, of which
                these are a part; null for the whole recording itself
            to_full_mean: over languages
        enough: {jaccard, tokens, share}: the fewest tokens from which on `to_full_mean` stays at `jaccard` or more,
            and their share of the longest language's; null when there is no such snapshot
        spread: the same for parts that are spread over the whole text, every n-th block, where the first tokens
            may be of one subject; empty when a language has fewer blocks than there are groups
            tokens: per language, of the longest one
            share: of all blocks
            parts: how many such parts there are, each block being in one
            to_full: language code -> Jaccard index of the masks of a part and of all tokens, mean over the parts
            to_full_mean: over languages
            to_full_mean_lowest: of a single part
        spread_enough: {jaccard, tokens, share}: as `enough`, of `spread`
        A Jaccard index is null where neither mask has a neuron; means leave it out.

    Raises:
        UnknownLabel: The method, a language or a setting does not exist.
        LapeError: The method reads sums, or a language has a single block.
    """
    chosen = list(groups.total().languages if languages is None else languages)
    full = identify(groups.total(), method, chosen, **settings)
    full_tokens = {code: groups.tokens[code] for code in chosen}
    longest = max(groups.blocks[code] for code in chosen)

    def point(blocks: int | None) -> dict[str, Any]:
        halves = halves_agreement(groups, blocks, chosen, method=method, **settings)
        read = longest if blocks is None else blocks
        part = None if blocks is None else agreement(identify(groups.first(blocks), method, chosen, **settings), full)
        return {
            "tokens": read * groups.block,
            "half_tokens": read // 2 * groups.block,
            "halves": halves,
            "halves_mean": mean_agreement(halves),
            "to_full": part,
            "to_full_mean": None if part is None else mean_agreement(part),
        }

    computes: dict[str, Compute] = {
        f"stability method={method} tokens={blocks * groups.block if blocks else 'all'}": partial(point, blocks)
        for blocks in (*(number for number in groups.snapshots if number < longest), None)
    }
    last = f"stability method={method} spread"
    found = cells(one_by_one({**computes, last: partial(_spread, groups, full, {"method": method, **settings})}))
    points, spread = [found[key] for key in computes], found[last]
    first = [{**at, "share": at["tokens"] / (longest * groups.block)} for at in points[:-1]]
    return {
        "method": method,
        "settings": settings,
        "full_tokens": full_tokens,
        "points": points,
        "enough": _enough(first),
        "spread": spread,
        "spread_enough": _enough(spread),
    }


def _spread(groups: BlockGroups, full: NeuronMask, how: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Agreement with the full mask of masks of some of the groups, evenly spaced."""
    number, codes = groups.count, full.languages
    if any(groups.blocks[code] < number for code in codes):
        return []
    found = []
    for parts in (parts for parts in range(number, 1, -1) if number % parts == 0):
        each = []
        for start in range(parts):
            drawn = dict.fromkeys(codes, torch.arange(start, number, parts))
            each.append(agreement(identify(groups.resample(drawn), languages=codes, **how), full))
        to_full = {code: mean_agreement({start: of[code] for start, of in enumerate(each)}) for code in codes}
        means = [mean for of in each if (mean := mean_agreement(of)) is not None]
        found.append(
            {
                "tokens": max(groups.tokens[code] for code in codes) // parts,
                "share": 1 / parts,
                "parts": parts,
                "to_full": to_full,
                "to_full_mean": mean_agreement(to_full),
                "to_full_mean_lowest": min(means, default=None),
            }
        )
    return found


def _enough(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The smallest part from which on the mask stays as good as the full one; parts come smallest first."""
    enough: dict[str, Any] = {"jaccard": ENOUGH, "tokens": None, "share": None}
    for part in reversed(parts):
        if part["to_full_mean"] is None or part["to_full_mean"] < ENOUGH:
            break
        enough |= {"tokens": part["tokens"], "share": part["share"]}
    return enough


@dataclass
class UntilStable:
    """Ends a recording when the masks of its two halves agree: `record_groups(..., until=UntilStable(0.9))`.

    Attributes:
        asked: Mean Jaccard index over languages, above 0 and up to 1.
        method: `method`, a name of `identify`, and settings of that method; `lape` with its defaults when empty.
        reached: Number of blocks -> mean Jaccard index, for each snapshot that was looked at.

    Raises:
        LapeError: `asked` is out of range.
    """

    asked: float
    method: Mapping[str, Any] = field(default_factory=dict)
    reached: dict[int, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.asked <= 1:
            raise LapeError(f"Stability is a Jaccard index above 0 and up to 1, not {self.asked}.")

    def __call__(self, groups: BlockGroups, blocks: int) -> bool:
        self.reached[blocks] = mean_agreement(halves_agreement(groups, blocks, **self.method))
        return self.ended == blocks

    @property
    def ended(self) -> int | None:
        """The number of blocks at which the halves agreed; None while they do not."""
        agreed = (blocks for blocks, mean in self.reached.items() if mean is not None and mean >= self.asked)
        return next(agreed, None)


def selection(groups: BlockGroups, mask: NeuronMask, *, resamples: int = 200, seed: int = 0) -> dict[str, torch.Tensor]:
    """How often each neuron of a mask would be selected for its language had other text been read.

    A bootstrap: each resample draws, for every language on its own, as many groups of blocks as there are, with
    replacement, and the mask's method selects again from these counts. With 200 resamples the standard error of a
    probability is 0.035 at most.

    Args:
        groups: Of the recording that the mask was identified from.
        mask: As `identify` made it.
        resamples: How many.
        seed: The same seed gives the same numbers, whatever the order of the languages.

    Returns:
        Language code to float32 `[n]`, one share for each neuron of the mask.

    Raises:
        MaskMismatch: The method does not select this mask from these groups.
        LapeError: A language has fewer blocks than there are groups, or the method reads sums.
    """
    if resamples < 1:
        raise LapeError(f"A bootstrap needs 1 resample or more, not {resamples}.")
    how = {"method": mask.metadata.get("method"), "languages": mask.languages, **mask.metadata.get("settings", {})}
    mismatch = MaskMismatch("These groups of blocks do not give this mask: pass those of the recording it is from.")
    if groups.shape != mask.shape or not set(mask.languages) <= set(groups.languages):
        raise mismatch
    if any(share not in (1.0, None) for share in agreement(mask, identify(groups.total(), **how)).values()):
        raise mismatch
    for code in mask.languages:
        if groups.blocks[code] < groups.count:
            raise LapeError(
                f"A bootstrap over {groups.count} groups needs as many blocks of text, but {code!r} has "
                f"{groups.blocks[code]}. Record more tokens, or fewer groups (groups, --groups)."
            )
    # A generator of its own for each language; torch's looks at the low 32 bits of a seed only.
    seeds = {code: zlib.crc32(f"{seed} {code}".encode()) for code in mask.languages}
    generators = {code: torch.Generator().manual_seed(number) for code, number in seeds.items()}
    times = {code: torch.zeros(mask.count(code)) for code in mask.languages}
    for _ in range(resamples):
        drawn = {code: torch.randint(groups.count, (groups.count,), generator=generators[code]) for code in generators}
        selected = identify(groups.resample(drawn), **how)
        for code in mask.languages:
            times[code] += torch.isin(mask.flat(code), selected.flat(code))
    return {code: counted / resamples for code, counted in times.items()}


def selection_summary(probabilities: Mapping[str, torch.Tensor]) -> dict[str, dict[str, Any]]:
    """Figures of each language's selection probabilities.

    Returns:
        Language code to {neurons, mean, median (the lower of two), certain}: `certain` is the share of its neurons
        selected in at least 90 % of the resamples. A language without neurons has nulls.
    """
    found: dict[str, dict[str, Any]] = {}
    for code, values in probabilities.items():
        figures: dict[str, float | None] = {"mean": None, "median": None, "certain": None}
        if len(values):
            often = (values >= OFTEN).double()
            figures = {
                "mean": float(values.double().mean()),
                "median": float(values.median()),
                "certain": float(often.mean()),
            }
        found[code] = {"neurons": len(values), **figures}
    return found
