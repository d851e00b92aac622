"""`alignment` makes the mask its authors made, of the counts they published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lape import ActivationStatistics, identify

NJUNLP = Path(__file__).resolve().parents[3] / "shared" / "official" / "njunlp"  # beside the checkout, in CI too
CODES = ("en", "ru", "es", "fr", "de", "zh", "ja", "bn", "th", "sw")  # the order of their list
WEIGHT = 0.109375  # that their search found


@pytest.fixture(scope="module")
def statistics() -> ActivationStatistics:
    """Counts of the answers: of prompt and answer, less those of the prompt; a difference below 0 is none."""
    with np.load(NJUNLP / "counts.npz") as counts:
        active = {code: torch.from_numpy(counts[f"full.{code}"] - counts[f"prefix.{code}"]).long() for code in CODES}
        tokens = {code: int(counts[f"full.{code}.tokens"] - counts[f"prefix.{code}.tokens"]) for code in CODES}
    sums = {code: torch.zeros(active[code].shape, dtype=torch.float64) for code in CODES}  # they kept none
    return ActivationStatistics({code: each.clamp(min=0) for code, each in active.items()}, sums, sums, tokens, {})


@pytest.mark.skipif(not NJUNLP.is_dir(), reason="the authors' counts are not beside the checkout")
@pytest.mark.parametrize("weight", [WEIGHT, None], ids=["weight given", "weight searched"])
def test_it_is_the_authors_mask_language_by_language(statistics: ActivationStatistics, weight: float | None) -> None:
    mask = identify(statistics, "alignment", weight=weight)
    assert [mask.count(code) for code in CODES] == [142, 556, 523, 821, 941, 412, 676, 948, 622, 666]
    theirs = torch.load(NJUNLP / "mask.pth", weights_only=True)
    for code, layers in zip(CODES, theirs, strict=True):
        flat = [layer * statistics.shape[1] + neurons for layer, neurons in enumerate(layers)]
        assert mask.flat(code).equal(torch.cat(flat).sort().values)
