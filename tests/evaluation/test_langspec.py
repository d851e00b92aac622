"""LangSpec-F1 against the figures that follow from CRANE's own tables, and from a matrix by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lape import LapeError
from lape.evaluation.metrics.langspec import langspec, langspec_f1
from lape.evaluation.metrics.likelihood import Scores
from lape.evaluation.metrics.perplexity import Matrix

# Accuracies on MMLU, C-Eval and Belebele: of the base model, and with the mask of en, vi, zh, as the authors' code has
# them; with what their formula makes of them at beta 1 and the mean over the others.
BASE = {"en": 0.4579, "zh": 0.3470, "vi": 0.3722}
TABLES = {
    "lape": (
        {"en": (0.4576, 0.3351, 0.3711), "vi": (0.4553, 0.3380, 0.3833), "zh": (0.4589, 0.3410, 0.3778)},
        {"en": 0.001, "vi": 0.0, "zh": 0.034},
    ),
    "crane": (
        {"en": (0.3483, 0.2801, 0.2811), "vi": (0.3517, 0.2816, 0.2233), "zh": (0.4366, 0.3314, 0.3344)},
        {"en": 0.339, "vi": 0.491, "zh": 0.080},
    ),
    "random": (
        {"en": (0.4249, 0.3180, 0.3678), "vi": (0.4486, 0.3269, 0.3600), "zh": (0.4375, 0.3165, 0.3600)},
        {"en": 0.130, "vi": 0.061, "zh": 0.155},
    ),
}


def scores(values: tuple[float, ...]) -> dict[str, torch.Tensor]:
    return dict(zip(BASE, map(torch.tensor, values), strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_the_authors_accuracies_give_their_figures(name: str) -> None:
    rows, expected = TABLES[name]
    found = {code: float(langspec_f1(scores(tuple(BASE.values())), scores(row), code)) for code, row in rows.items()}
    assert found == pytest.approx(expected, abs=1e-3)


def constant(nats: float) -> Scores:
    """Four blocks of one likelihood: intervals have no width."""
    return Scores((2 * nats,) * 4, (2,) * 4, (2,) * 4)


def test_a_matrix_gives_likelihoods() -> None:
    # Likelihoods 1/2 and 1/4 go to 1/4 and 1/5: drops 1/4 and 1/20, P 5/6, R 1/2, F1 5/8. The control costs its own
    # language nothing.
    half, quarter, fifth = (constant(math.log(n)) for n in (2, 4, 5))
    measured = Matrix(
        {"fr": half, "de": quarter},
        {"lape off=fr": {"fr": quarter, "de": fifth}, "random0 off=fr": {"fr": half, "de": fifth}},
    )
    found = langspec(measured, {"lape off=fr": "fr"}, {"random0": {"random0 off=fr": "fr"}})
    assert found["f1"] == pytest.approx({"value": 0.625, "low": 0.625, "high": 0.625})
    assert found["f1_by_language"]["fr"] == found["f1"]
    assert found["control_f1"]["value"] == found["control_f1_by_mask"]["random0"] == 0
    with pytest.raises(LapeError, match="nothing without random masks"):
        langspec(measured, {"lape off=fr": "fr"}, {})
    with pytest.raises(LapeError, match="must be measured on the text of 'xx'"):
        langspec(measured, {"lape off=fr": "xx"}, {"random0": {"random0 off=fr": "fr"}})
