"""What files of masks and statistics may say of themselves: a hostile one gets one sentence, and no memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from samples import mask_of, statistics_of

from lape import ActivationStatistics, BadFile, LapeError, NeuronMask
from lape.storage.files import load_tensors, save_tensors
from lape.storage.metadata import KEYS, MOST_LANGUAGES, check_metadata

HTML = "<img src=x onerror=alert(1)>"
MASK = mask_of(
    {"fr": [(0, 1), (1, 2)], "es": [(0, 0)]},
    {"fr": [1.0, 2.0]},
    model="org/a",
    method="lape",
    settings={"top_rate": 0.01, "seed": 2**64, "low": -0.5, "quick": True, "per_language": {"fr": 3}, "name": None},
    tokens={"fr": 10},
    corpora={"fr": []},
    calibration={"tokens": {"fr": 10}, "corpora": {}},
    released={"file": "a.pth", "url": None},
)
STATISTICS = statistics_of({"fr": [[1, 2], [3, 4]]})


def written(folder: Path, value: NeuronMask | ActivationStatistics, tensors: dict[str, Any], **about: Any) -> Path:
    """A file with some of its tensors and metadata replaced."""
    file, kind = folder / "mask.safetensors", "mask" if isinstance(value, NeuronMask) else "statistics"
    value.save(folder if isinstance(value, NeuronMask) else file)
    there, metadata = load_tensors(file, kind)
    save_tensors(file, there | tensors, metadata | about)
    return file


WRONG: list[tuple[str, Any]] = [
    *(("shape", value) for value in ([2.0, 4.0], [True, True], [0, 4], [-1, 4], [2, 10**12], [10**12, 4], ["2", "4"])),
    *(("shape", value) for value in ([10**4000, 4], {}, [[2], [4]])),
    *(("languages", value) for value in ("fr", {"fr": 1}, ["fr", "fr"], [5], [None], [["fr"]], [HTML], ["../x"])),
    *(("languages", value) for value in (["fr\0"], [""], ["f" * 33], [f"l{n}" for n in range(MOST_LANGUAGES + 1)])),
    *(("model", value) for value in (None, 5, ["org/a"], "x" * 301, "a\nb", "\x1b[2J", "\u202e")),
    *(("method", value) for value in (5, {}, "a\0b")),
    *(("tokens", value) for value in (5, [1], {"fr": "10"}, {"fr": -1}, {"fr": 10**400}, {HTML: 1}, {"fr": True})),
    *(("settings", value) for value in ([], "x", 5, {"seed": 2**64 + 1}, {"top_rate": [1]}, {"name": "a\nb"})),
    *(("corpora", value) for value in ([], "x", None)),
    *(("calibration", value) for value in ([], {"tokens": 5}, {"corpora": 5}, {"tokens": {"fr": None}})),
    *(("released", value) for value in ("x", {"url": 5}, {"url": "x" * 301})),
    *(("format", value) for value in ("1", 1.5, None)),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_metadata_of_another_form_is_one_sentence(tmp_path: Path, key: str, value: Any) -> None:
    file = written(tmp_path, MASK, {}, **{key: value})
    with pytest.raises(BadFile) as refused:
        NeuronMask.load(file)
    said = str(refused.value)
    assert said == f"{str(file)!r} does not say its {key} as {KEYS[key].text}."


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_in_a_file_and_before_one(tmp_path: Path, number: str) -> None:
    # A top rate of NaN was kept, and every comparison with it was false without a word.
    text = f'{{"kind": "mask", "shape": [2, 4], "languages": ["fr"], "settings": {{"top_rate": {number}}}}}'
    save_file({"neurons.fr": torch.zeros(1, 2, dtype=torch.int32)}, tmp_path / "mask.safetensors", {"lape": text})
    with pytest.raises(BadFile, match=r"damaged or was not written by lape \(a number is not finite\)\.$"):
        NeuronMask.load(tmp_path)
    (tmp_path / "mask.safetensors").unlink()
    mask = mask_of({"fr": [(0, 1)]}, settings={"top_rate": float(number)})
    with pytest.raises(LapeError, match=r"mask\.safetensors' holds a number that is not finite"):
        mask.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_our_own_files_say_is_accepted(tmp_path: Path) -> None:
    assert NeuronMask.load(written(tmp_path, MASK, {})) == MASK
    bundled = Path(__file__).resolve().parents[2] / "precomputed"
    files = sorted(bundled.glob("*/*/*.safetensors"))
    assert {file.name for file in files} == {
        f"{kind}.safetensors" for kind in ("mask", "residuals", "statistics", "top_texts", "vocabulary")
    }
    for file in files:
        metadata = load_tensors(file, file.stem)[1]
        assert metadata.keys() <= KEYS.keys()
        check_metadata(metadata, file.name)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    cells = torch.tensor([[0, 1], [1, 2]])
    for wrong in (cells.to(torch.complex64), cells.bool(), cells.to(torch.uint16)):
        named = str(wrong.dtype).removeprefix("torch.")
        with pytest.raises(BadFile, match=rf"whole numbers \[n, 2\] in int64, .*int8, not {named} \[2, 2\]\.$"):
            NeuronMask.load(written(tmp_path, MASK, {"neurons.fr": wrong}))
    with pytest.raises(BadFile, match=r"means for 'fr' that are not finite numbers in float32\.$"):
        NeuronMask.load(written(tmp_path, MASK, {"mean.fr": torch.tensor([1e300, 1.0], dtype=torch.float64)}))


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool, torch.uint16, torch.uint64, torch.float8_e5m2])
def test_columns_of_types_that_torch_hardly_computes_with_are_named(tmp_path: Path, kind: torch.dtype) -> None:
    # A column of the right shape and a wrong type was said to have 2 numbers for 2 neurons, or ended in a traceback.
    named = str(kind).removeprefix("torch.")
    for name, text in (("mean", "means"), ("selection", "selection probabilities")):
        with pytest.raises(BadFile, match=f"has {text} for 'fr' as {named}, not numbers in one of int64, .*bfloat16"):
            NeuronMask.load(written(tmp_path, MASK, {f"{name}.fr": torch.zeros(2).to(kind)}))
    for name in ("sum", "positive_mean") if kind == torch.uint16 else ("active", "sum", "positive_mean"):
        with pytest.raises(BadFile, match=f"holds the tensor '{name}.fr' as {named}, not numbers in one of int64"):
            ActivationStatistics.load(written(tmp_path, STATISTICS, {f"{name}.fr": torch.zeros(2, 2).to(kind)}))


def test_a_column_of_another_shape_is_told_its_shape(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"The mask has means for 'fr' as \[2, 1\], not as a list\.$"):
        NeuronMask.load(written(tmp_path, MASK, {"mean.fr": torch.zeros(2, 1)}))


@pytest.mark.parametrize(
    ("tensors", "about", "said"),
    [
        ({"sum.fr": torch.ones(2, 2, dtype=torch.complex64)}, {}, "not numbers"),
        ({"active.fr": torch.ones(2, 2, dtype=torch.bool)}, {}, "not numbers"),
        (
            {name: torch.ones(0, 2) for name in ("active.fr", "sum.fr", "positive_mean.fr")},
            {},
            "different shapes, or not",
        ),
        ({name: torch.ones(4) for name in ("active.fr", "sum.fr", "positive_mean.fr")}, {}, "different shapes, or not"),
        ({}, {"tokens": {"fr": 0}}, "does not say how many tokens"),
        ({}, {"tokens": {}}, "does not say how many tokens"),
        ({}, {"tokens": {"fr": 10**400}}, "does not say its tokens"),
        ({}, {"tokens": {"fr": 10, HTML: 10}}, "does not say its tokens"),
        ({}, {"corpora": "x"}, "does not say its corpora"),
    ],
)
def test_statistics_that_make_no_sense_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadFile, match=said):
        ActivationStatistics.load(written(tmp_path, STATISTICS, tensors, **about))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"kind": ' * 50_000,
        "9" * 10_000,
        '{"kind": "mask", "format": 1}',
        '{"kind": "mask", "shape": 1e999}',
        '{"kind": "mask", "\\u001b[2J": 1}',
        "",
    ],
    ids=lambda text: text[:12],
)
def test_metadata_that_is_no_metadata_is_refused(tmp_path: Path, text: str) -> None:
    save_file({"neurons.fr": torch.zeros(1, 2)}, tmp_path / "mask.safetensors", {"lape": text})
    with pytest.raises(BadFile):
        NeuronMask.load(tmp_path)
