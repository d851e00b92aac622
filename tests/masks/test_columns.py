"""Columns of a mask: declared once, and everything that handles columns knows them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import torch
from samples import mask_of

from lape import BadFile, LapeWarning, NeuronMask
from lape.masks.bundled import bundled_folder
from lape.masks.columns import NeuronColumn, columns_of
from lape.models.embedded import EMBEDDED, SMOLLM2
from lape.storage.files import load_tensors, save_tensors
from lape.storage.names import MASK_NAME, SUMMARY_NAME


@dataclass(frozen=True, eq=False)
class Sure(NeuronMask):
    """A mask with one more column: nothing but its declaration is written for it."""

    surety: Annotated[Mapping[str, torch.Tensor], NeuronColumn("sure", "sureties", low=0, high=10)] = field(
        default_factory=dict
    )


def sure(**other: list[float]) -> Sure:
    neurons = {"fr": torch.tensor([[1, 2], [0, 3]]), "es": torch.tensor([[0, 3]])}
    surety = {"fr": torch.tensor([7.0, 5.0]), "es": torch.tensor([9.0])}
    return Sure(neurons, {"fr": torch.tensor([0.1, 0.2])}, (2, 4), surety=surety)


def test_the_columns_there_are() -> None:
    keys = {name: (column.key, column.defines) for name, column in columns_of(NeuronMask).items()}
    assert keys == {
        "means": ("mean", True),
        "selection": ("selection", False),
        "other_means": ("other_mean", False),
        "own_means": ("own_mean", False),
        "deviations": ("deviation", False),
    }


def test_a_new_column_follows_its_neurons_everywhere(tmp_path: Path) -> None:
    mask = sure()
    assert mask.surety["fr"].tolist() == [5.0, 7.0]  # sorted with the neurons
    mask.save(tmp_path)
    assert set(load_tensors(tmp_path / MASK_NAME, "mask")[0]) == {
        "neurons.fr", "neurons.es", "mean.fr", "sure.fr", "sure.es",
    }  # fmt: skip
    loaded = Sure.load(tmp_path)
    assert {code: values.tolist() for code, values in loaded.surety.items()} == {"fr": [5.0, 7.0], "es": [9.0]}
    assert loaded.exclusive().surety["fr"].tolist() == [7.0]  # (0, 3) is shared
    assert list(loaded.only(["es"]).surety) == ["es"]
    assert (loaded | mask).surety == {}  # it does not define the mask
    assert loaded == mask_of({"fr": [(0, 3), (1, 2)], "es": [(0, 3)]}, {"fr": [0.2, 0.1]})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0], "There are 2 neurons for 'fr' but 1 sureties"),
        ([1.0, 11.0], "sureties for 'fr' that are not from 0 to 10"),
        ([-1.0, 1.0], "sureties for 'fr' that are not from 0 to 10"),
        ([1.0, float("nan")], "sureties for 'fr' that are not finite"),
    ],
)
def test_what_a_new_column_cannot_be_is_refused(values: list[float], said: str) -> None:
    with pytest.raises(BadFile, match=said):
        Sure({"fr": torch.tensor([[0, 3], [1, 2]])}, {}, (2, 4), surety={"fr": torch.tensor(values)})


def test_a_column_may_have_one_bound() -> None:
    given, order = {"fr": torch.tensor([-2.0, 2.0])}, {"fr": torch.tensor([0, 1])}
    with pytest.raises(BadFile, match="numbers for 'fr' that are not at least 0"):
        NeuronColumn("k", "numbers", low=0).checked(given, order)
    with pytest.raises(BadFile, match="numbers for 'fr' that are not at most 1"):
        NeuronColumn("k", "numbers", high=1).checked(given, order)


@pytest.mark.parametrize("model", [each.model for each in EMBEDDED])
def test_the_bundled_masks_are_the_same_bytes_again(model: str, tmp_path: Path) -> None:
    folder = bundled_folder(model)
    NeuronMask.load(folder).save(tmp_path)
    for name in (MASK_NAME, SUMMARY_NAME):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_some_languages_of_a_mask_in_the_order_asked() -> None:
    mask = mask_of({"fr": [(0, 1)], "es": [(0, 2)], "ko": []}, {"fr": [0.5]})
    assert mask.only(["ko", "fr"]).languages == ("ko", "fr")
    assert mask.only(["ko", "fr"]).means["fr"].tolist() == [0.5]


@pytest.mark.parametrize(("changed", "said"), [({"format": 9}, "newer format"), ({"flavour": 1}, "flavour")])
def test_a_newer_format_warns_and_so_does_a_key_that_is_not_known(
    changed: dict[str, int], said: str, tmp_path: Path
) -> None:
    shutil.copytree(bundled_folder(SMOLLM2.model), tmp_path / "mask")
    tensors, metadata = load_tensors(tmp_path / "mask" / MASK_NAME, "mask")
    save_tensors(tmp_path / "mask" / MASK_NAME, tensors, {**metadata, **changed})
    with pytest.warns(LapeWarning, match=said):
        NeuronMask.load(tmp_path / "mask")
