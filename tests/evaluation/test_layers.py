"""Where neurons lie and what masks share, worked out by hand, and against the paper's released masks."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from samples import mask_of

from lape import LapeError, MaskMismatch, NeuronMask
from lape.cli import main
from lape.evaluation.kinds.layers import pair, pair_figure
from lape.evaluation.metrics.cells import Task, fresh
from lape.evaluation.metrics.layers import depth, language_overlap, layers, mask_overlap
from lape.masks.released import RELEASED, read_released

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "official"  # beside the checkout, in CI too


def test_depth_by_hand() -> None:
    # 16 layers: two to an eighth.
    mask = mask_of({"fr": [(0, 0), (0, 3), (1, 0), (2, 1), (15, 2)], "ko": []}, shape=(16, 4))
    assert depth(mask) == {
        "layers": 16,
        "neurons_per_layer": 4,
        "layers_per_eighth": [2] * 8,
        "languages": {
            "fr": {
                "neurons": 5,
                "per_layer": [2, 1, 1, *[0] * 12, 1],
                "per_eighth": [3, 1, 0, 0, 0, 0, 0, 1],
                "first_eighth_share": 0.6,
                "last_eighth_share": 0.2,
            },
            "ko": {
                "neurons": 0,
                "per_layer": [0] * 16,
                "per_eighth": [0] * 8,
                "first_eighth_share": None,
                "last_eighth_share": None,
            },
        },
        "even_first_eighth_share": 0.125,
        "even_last_eighth_share": 0.125,
    }


@pytest.mark.parametrize(
    ("number", "sizes"),
    [
        (30, [4, 4, 4, 3, 3, 4, 4, 4]),  # 30 / 8 = 3.75: eighths begin at layers 0, 4, 8, 12, then mirrored
        (28, [4, 3, 4, 3, 3, 4, 3, 4]),
        (8, [1] * 8),
        (3, [1, 0, 1, 0, 0, 0, 0, 1]),
        (1, [1, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_eighths_of_any_number_of_layers(number: int, sizes: list[int]) -> None:
    mask = mask_of({"fr": [(layer, 0) for layer in range(number)]}, shape=(number, 2))
    found = depth(mask)
    assert found["layers_per_eighth"] == found["languages"]["fr"]["per_eighth"] == sizes
    assert found["even_last_eighth_share"] == found["languages"]["fr"]["last_eighth_share"] == sizes[-1] / number


@pytest.mark.parametrize(
    ("name", "language", "eighths", "first_layers"),
    [
        ("llama-2-7b", "fr", [261, 22, 10, 32, 54, 170, 294, 179], [220, 39]),
        ("llama-2-7b", "zh", None, [108, 32]),
        ("llama-2-7b", "vi", None, [274, 16]),
        ("llama-2-70b", "vi", None, [26, 1726]),
    ],
)
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the released masks are not beside the checkout")
def test_released_masks_lie_where_the_facts_say(
    name: str, language: str, eighths: list[int] | None, first_layers: list[int]
) -> None:
    known = RELEASED[name]
    found = depth(read_released(OFFICIAL / known.file, known.model))["languages"][language]
    assert found["per_layer"][:2] == first_layers
    assert eighths is None or found["per_eighth"] == eighths
    assert (
        sum(found["per_eighth"]) == found["neurons"] == dict(zip(known.languages, known.counts, strict=True))[language]
    )


@pytest.mark.parametrize(
    ("name", "language", "last_eighth"),
    [("bloom-7b1", "zh", 510), ("bloom-7b1", "id", 2472), ("mistral-7b", "zh", 509)],
)
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the released masks are not beside the checkout")
def test_the_last_eighth_of_released_masks(name: str, language: str, last_eighth: int) -> None:
    known = RELEASED[name]
    found = depth(read_released(OFFICIAL / known.file, known.model))["languages"][language]
    assert found["per_eighth"][-1] == last_eighth
    assert found["last_eighth_share"] == last_eighth / found["neurons"]


FIRST = mask_of({"fr": [(0, 0), (0, 1), (1, 2)], "es": [(0, 1), (1, 2), (1, 3), (0, 3)], "ko": [], "th": []})
SECOND = mask_of({"de": [(0, 0)], "es": [(0, 1), (1, 0)], "fr": [(1, 2), (1, 1)], "ko": []})


def test_language_overlap_by_hand() -> None:
    assert language_overlap(FIRST) == {
        "fr": {"fr": 1.0, "es": 2 / 5, "ko": 0.0, "th": 0.0},
        "es": {"fr": 2 / 5, "es": 1.0, "ko": 0.0, "th": 0.0},
        "ko": {"fr": 0.0, "es": 0.0, "ko": None, "th": None},
        "th": {"fr": 0.0, "es": 0.0, "ko": None, "th": None},
    }


def test_mask_overlap_by_hand() -> None:
    assert mask_overlap(FIRST, SECOND) == {
        "languages": {
            "fr": {"jaccard": 1 / 4, "by_chance": 1 / 9, "shared": 1, "first": 3, "second": 2},
            "es": {"jaccard": 1 / 5, "by_chance": 1 / 5, "shared": 1, "first": 4, "second": 2},
            "ko": {"jaccard": None, "by_chance": None, "shared": 0, "first": 0, "second": 0},
        },
        "mean_jaccard": pytest.approx(9 / 40),
        "first_only": ["th"],
        "second_only": ["de"],
    }


def test_chance_is_what_every_mask_of_these_counts_shares_on_average() -> None:
    layers = [itertools.combinations([(layer, neuron) for neuron in range(4)], 1 + layer) for layer in (0, 1)]
    others = [mask_of({"fr": [*first, *second]}) for first, second in itertools.product(*layers)]
    found = [mask_overlap(FIRST, other)["languages"]["fr"] for other in others]
    shared = sum(overlap["shared"] for overlap in found) / len(found)
    assert {overlap["by_chance"] for overlap in found} == {shared / (3 + 3 - shared)}


def test_masks_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(MaskMismatch, match="2 layers x 4 neurons, the other for 3 layers x 4 neurons"):
        mask_overlap(FIRST, mask_of({"fr": []}, shape=(3, 4)))
    with pytest.raises(LapeError, match="no language in common: fr, es, ko, th against de"):
        mask_overlap(FIRST, mask_of({"de": [(0, 0)]}))


def test_everything_at_once_in_cells_named_after_masks() -> None:
    third, keys = mask_of({"fr": [(0, 0)], "de": [(0, 0)]}), []

    def noted(tasks: Sequence[Task]) -> dict[str, Any]:
        keys.extend(key for task in tasks for key in task.keys)
        return json.loads(json.dumps(fresh(tasks)))

    found = layers(FIRST, {"chat": SECOND, "lave": third}, cells=noted)
    assert found["depth"] == depth(FIRST)
    assert found["language_overlap"] == language_overlap(FIRST)
    assert found["others"]["chat"] == {"depth": depth(SECOND), "overlap": mask_overlap(FIRST, SECOND)}
    assert found["others"]["lave"]["overlap"]["languages"]["fr"]["jaccard"] == 1 / 3
    assert found["between_others"] == {"chat": {"lave": mask_overlap(SECOND, third)}}
    assert sorted(keys) == [
        "depth",
        "depth other=chat",
        "depth other=lave",
        "language overlap",
        "overlap other=chat",
        "overlap other=chat other=lave",
        "overlap other=lave",
    ]
    alone = layers(FIRST)
    assert (alone["others"], alone["between_others"]) == ({}, {})


# Two masks side by side

ONE = mask_of({"fr": [(0, 1), (0, 2), (1, 0)], "es": [], "ko": [(1, 1)]}, shape=(3, 4))
OTHER = mask_of({"fr": [(0, 1), (2, 0), (2, 1), (2, 3)], "es": [], "it": [(0, 0)]}, shape=(3, 4))


def test_a_pair_by_hand() -> None:
    table = pair(mask_overlap(ONE, OTHER))
    assert table.head == ["language", "in both", "only in A", "only in B", "Jaccard", "by chance"]
    assert table.rows == [
        ["French (fr)", "1", "2", "3", "0.17", "0.08"],  # 2 * 1 / 4 shared by chance, among 3 + 4 - 0.5
        ["Spanish (es)", "0", "0", "0", "", ""],
        ["mean", "", "", "", "0.17", "0.08"],
    ]


def test_the_figure_of_a_pair_has_the_counts_of_every_layer() -> None:
    drawn = pair_figure(ONE, OTHER)
    assert re.findall(r"<title>(.*?)</title>", drawn) == [
        "French (fr), layer 0: in both 1, only in A 1, only in B 0",
        "French (fr), layer 1: in both 0, only in A 1, only in B 0",
        "French (fr), layer 2: in both 0, only in A 0, only in B 3",
    ]
    heights = [float(height) for height in re.findall(r'<rect class="series\d"[^>]* height="([\d.]+)"', drawn)]
    assert heights == pytest.approx([40 / 3, 40 / 3, 0, 0, 40 / 3, 0, 0, 0, 40], abs=0.01)  # the highest bar counts 3
    assert "ko" not in drawn
    assert "it)" not in drawn


def test_diff_prints_the_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ONE.save(tmp_path / "a")
    OTHER.save(tmp_path / "b")
    words = ["diff", str(tmp_path / "a"), str(tmp_path / "b" / "mask.safetensors")]
    assert main(words) == 0
    printed = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert printed[1:] == [
        ["French (fr)", "1", "2", "3", "0.17", "0.08"],
        ["Spanish (es)", "0", "0", "0"],
        ["mean", "0.17", "0.08"],
        ["only in A: ko"],
        ["only in B: it"],
    ]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"overlap": mask_overlap(ONE, OTHER), "first": depth(ONE), "second": depth(OTHER)}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            mask_of({"fr": []}, shape=(2, 4)),
            "One mask is for 3 layers x 4 neurons, the other for 2 layers x 4 neurons.",
        ),
        (mask_of({"it": []}, shape=(3, 4)), "The masks have no language in common: fr, es, ko against it."),
    ],
)
def test_masks_that_cannot_be_compared_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: NeuronMask, said: str
) -> None:
    ONE.save(tmp_path / "a")
    other.save(tmp_path / "b")
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err == f"lape: {said}\n"
