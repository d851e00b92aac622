"""Masks as values: algebra, overlap, random controls, files, and the bundled ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import mask_of, neurons_of, statistics_of

import lape
from lape.masks.bundled import bundled_folder
from lape.models.embedded import EMBEDDED, default_model
from lape.storage.files import load_tensors, save_tensors
from lape.storage.names import MASK_NAME, STATISTICS_NAME

left = mask_of({"fr": [(0, 1), (0, 3), (1, 2)], "en": []}, {"fr": [1.0, 2.0, 3.0], "en": []}, model="org/a")
right = mask_of({"fr": [(0, 3), (1, 0)], "ja": [(1, 1)]}, {"fr": [20.0, 40.0], "ja": [50.0]}, model="org/b")


# A value


def test_neurons_are_sorted_and_their_means_with_them() -> None:
    mask = mask_of({"fr": [(1, 2), (0, 3), (0, 1)]}, {"fr": [3.0, 2.0, 1.0]})
    assert mask == mask_of({"fr": [(0, 1), (0, 3), (1, 2)]}, {"fr": [1.0, 2.0, 3.0]})
    assert neurons_of(mask)["fr"] == [(0, 1), (0, 3), (1, 2)]
    assert mask.means["fr"].tolist() == [1.0, 2.0, 3.0]
    assert mask.flat("fr").tolist() == [1, 3, 6]


def test_selection_probabilities_follow_their_neurons_to_disk_and_back(tmp_path: Path) -> None:
    shuffled = torch.tensor([[1, 2], [0, 3], [0, 1]])
    empty = torch.empty(0, 2, dtype=torch.int32)
    mask = lape.NeuronMask(
        {"fr": shuffled, "ja": empty}, {}, (2, 4), {}, {"fr": torch.tensor([0.25, 1.0, 0.5]), "ja": torch.empty(0)}
    )
    mask.save(tmp_path)
    loaded = lape.NeuronMask.load(tmp_path)
    assert neurons_of(loaded)["fr"] == [(0, 1), (0, 3), (1, 2)]
    assert loaded.selection["fr"].tolist() == [0.5, 1.0, 0.25]
    assert loaded.selection["ja"].tolist() == []
    assert loaded == mask_of(neurons_of(mask))  # equality is of neurons and means
    assert mask_of(neurons_of(mask)).selection == {}


def test_counts() -> None:
    assert [left.count("fr"), left.count("en"), right.count("ja")] == [3, 0, 1]
    assert left.per_layer("fr") == [2, 1]
    assert left.per_layer("en") == [0, 0]
    assert left.languages == ("fr", "en")


def test_equality_is_of_shape_neurons_and_means() -> None:
    alike = mask_of(neurons_of(left), {code: means.tolist() for code, means in left.means.items()}, model="org/other")
    assert left == alike
    assert mask_of(neurons_of(left)) != left
    assert mask_of(neurons_of(left), {"fr": [1.0, 2.0, 3.5], "en": []}) != left
    assert mask_of({"fr": [(0, 1)]}) != mask_of({"fr": [(0, 1)]}, shape=(3, 4))
    assert mask_of({"fr": [(0, 1)]}) != mask_of({"fr": [(0, 1)], "en": []})
    assert left != "fr"


@pytest.mark.parametrize("name", ["neurons", "means", "shape", "metadata", "selection"])
def test_frozen(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(left, name, {})


def test_what_it_was_made_from_may_change() -> None:
    pairs, means = torch.tensor([[0, 1], [1, 2]]), torch.tensor([1.0, 2.0])
    mask = lape.NeuronMask({"fr": pairs}, {"fr": means}, (2, 4))
    pairs.zero_(), means.zero_()
    assert mask == mask_of({"fr": [(0, 1), (1, 2)]}, {"fr": [1.0, 2.0]})


@pytest.mark.parametrize("ask", [left.count, left.per_layer, left.flat, left.known])
def test_an_unknown_language_gets_the_near_ones(ask: Callable[[str], object]) -> None:
    with pytest.raises(lape.UnknownLabel, match=r"No language in the mask 'frr'\. Did you mean 'fr'\?"):
        ask("frr")


# Algebra


def test_or_has_the_neurons_of_either_and_means_from_the_left_first() -> None:
    assert left | right == mask_of(
        {"fr": [(0, 1), (0, 3), (1, 0), (1, 2)], "en": [], "ja": [(1, 1)]},
        {"fr": [1.0, 2.0, 40.0, 3.0], "en": [], "ja": [50.0]},
    )
    assert (right | left).means["fr"].tolist() == [1.0, 20.0, 40.0, 3.0]


def test_and_has_the_neurons_of_both() -> None:
    assert left & right == mask_of({"fr": [(0, 3)], "en": [], "ja": []}, {"fr": [2.0], "en": [], "ja": []})
    assert (right & left).means["fr"].tolist() == [20.0]


def test_minus_has_the_neurons_of_the_left_alone() -> None:
    assert left - right == mask_of({"fr": [(0, 1), (1, 2)], "en": [], "ja": []}, {"fr": [1.0, 3.0], "en": [], "ja": []})
    assert neurons_of(right - left) == {"fr": [(1, 0)], "ja": [(1, 1)], "en": []}


def test_the_left_one_says_where_it_comes_from() -> None:
    assert {
        (left | right).metadata["model"],
        (left & right).metadata["model"],
        (left - right).metadata["model"],
    } == {"org/a"}


def test_laws() -> None:
    draw = torch.Generator().manual_seed(0)

    def random_mask() -> lape.NeuronMask:
        chosen = {code: torch.rand(3, 6, generator=draw) < 0.4 for code in ("fr", "en")}
        return mask_of({code: where.nonzero().tolist() for code, where in chosen.items()}, shape=(3, 6))

    for _ in range(10):
        a, b, c = random_mask(), random_mask(), random_mask()
        assert a | a == a & a == a
        assert a | b == b | a
        assert a & b == b & a
        assert (a | b) | c == a | (b | c)
        assert a & (b | c) == (a & b) | (a & c)
        assert (a - b) | (a & b) == a
        assert (a - b) & b == a - a
        assert a - (b | c) == (a - b) - c
        assert a.jaccard(b)["fr"] == (a & b).count("fr") / (a | b).count("fr")


def test_exclusive_leaves_out_what_languages_share() -> None:
    neurons = {"fr": [(0, 1), (0, 3), (1, 2)], "es": [(0, 3), (1, 0)], "ja": [(1, 2), (0, 3)], "en": []}
    means = {"fr": [1.0, 2.0, 3.0], "es": [4.0, 5.0]}
    found = mask_of(neurons, means, model="org/a").exclusive()
    assert neurons_of(found) == {"fr": [(0, 1)], "es": [(1, 0)], "ja": [], "en": []}
    assert {code: values.tolist() for code, values in found.means.items()} == {"fr": [1.0], "es": [5.0]}
    assert found.metadata == {"model": "org/a"}


def test_means_unknown_on_one_side_are_left_out() -> None:
    unknown = mask_of({"fr": [(0, 3)], "ja": [(0, 0)]}, {"ja": [7.0]})
    for combined in (left | unknown, unknown | left, left & unknown, left - unknown):
        assert set(combined.means) == {"en", "ja"}
    assert (left | unknown).means["ja"].tolist() == [7.0]


@pytest.mark.parametrize("combine", ["__or__", "__and__", "__sub__", "jaccard"])
def test_another_shape_is_refused_and_both_named(combine: str) -> None:
    with pytest.raises(lape.MaskMismatch, match=r"2 layers x 4 neurons.* 3 layers x 5 neurons"):
        getattr(left, combine)(mask_of({"fr": []}, shape=(3, 5)))


# Overlap


def test_jaccard_of_the_languages_in_both() -> None:
    # fr: (0,3) is shared, of (0,1) (0,3) (1,0) (1,2).
    assert left.jaccard(right) == {"fr": 1 / 4}
    assert left.jaccard(left) == {"fr": 1.0, "en": None}  # of no neurons nothing can be said
    assert mask_of({"en": []}).jaccard(mask_of({"en": [(0, 0)]})) == {"en": 0.0}


def test_overlap_of_every_ordered_pair() -> None:
    mask = mask_of({"fr": [(0, 0), (0, 1), (1, 0)], "es": [(0, 1), (1, 0)], "ko": [], "th": []})
    overlap = mask.overlap()
    assert len(overlap) == 16
    assert overlap["fr", "es"] == overlap["es", "fr"] == 2 / 3
    assert overlap["fr", "fr"] == 1.0
    assert overlap["ko", "th"] is None  # of no neurons nothing can be said
    assert overlap["fr", "ko"] == 0.0


# Random controls

SHAPE = (4, 200)
STATISTICS = statistics_of({code: [[1] * 200] * 4 for code in ("fr", "en")})
SELECTED = mask_of(
    {"fr": [(0, 5), (0, 9), *((2, n) for n in range(30))], "en": [(3, 1)], "ja": []},
    {"fr": [1.0] * 32},
    SHAPE,
    model="org/tiny",
    method="lape",
)


def test_as_many_for_each_language_and_layer_but_others() -> None:
    random = SELECTED.random_like(None, seed=0)
    assert random.languages == SELECTED.languages
    for code in random.languages:
        assert random.per_layer(code) == SELECTED.per_layer(code)
    assert random.jaccard(SELECTED)["fr"] < 0.5
    assert random.metadata["method"] == "random"
    assert random.metadata["settings"] == {"seed": 0}
    assert random.metadata["model"] == "org/tiny"


def test_the_seed_decides() -> None:
    assert SELECTED.random_like(None, seed=1) == SELECTED.random_like(None, seed=1)
    assert SELECTED.random_like(None, seed=1) != SELECTED.random_like(None, seed=2)


def test_means_come_from_the_statistics() -> None:
    two = mask_of({code: pairs for code, pairs in neurons_of(SELECTED).items() if code != "ja"}, shape=SHAPE)
    random = two.random_like(STATISTICS, seed=0)
    for code, pairs in neurons_of(random).items():
        expected = torch.tensor([STATISTICS.mean(code)[pair] for pair in pairs]).float()
        assert random.means[code].tolist() == expected.tolist()
    assert neurons_of(random) == neurons_of(two.random_like(None, seed=0))


def test_without_statistics_it_is_for_off_only() -> None:
    random = SELECTED.random_like(None, seed=0)
    assert random.means == {}
    assert lape.Intervention(random, off="fr").count == 32
    with pytest.raises(lape.MeansMissing, match="lape calibrate"):
        lape.Intervention(random, on="fr")


def test_statistics_of_another_shape_are_refused() -> None:
    with pytest.raises(lape.MaskMismatch, match=r"4 layers x 200 neurons.* 1 layers x 2 neurons"):
        SELECTED.random_like(statistics_of({"fr": [[1, 2]]}), seed=0)


# Files

SAVED = mask_of(
    {"fr": [(0, 1), (1, 2)], "en": [], "ja": [(0, 0)]},
    {"fr": [1.5, -2.5], "en": []},
    model="org/a",
    method="lape",
    date="2024-02-29",
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    SAVED.save(tmp_path / "new" / "folder")
    for path in (tmp_path / "new" / "folder", str(tmp_path / "new" / "folder" / MASK_NAME)):
        loaded = lape.NeuronMask.load(path)
        assert loaded == SAVED
        assert loaded.languages == SAVED.languages
        assert loaded.metadata.items() >= SAVED.metadata.items()


def test_a_loaded_mask_saves_to_the_same_bytes(tmp_path: Path) -> None:
    SAVED.save(tmp_path / "first")
    lape.NeuronMask.load(tmp_path / "first").save(tmp_path / "second")
    for name in (MASK_NAME, "mask.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_types_on_disk(tmp_path: Path) -> None:
    SAVED.save(tmp_path)
    tensors, metadata = load_tensors(tmp_path / MASK_NAME, "mask")
    assert {name: (tensor.dtype, list(tensor.shape)) for name, tensor in tensors.items()} == {
        "neurons.fr": (torch.int32, [2, 2]),
        "neurons.en": (torch.int32, [0, 2]),
        "neurons.ja": (torch.int32, [1, 2]),
        "mean.fr": (torch.float32, [2]),
        "mean.en": (torch.float32, [0]),
    }
    readable = json.loads((tmp_path / "mask.json").read_text(encoding="utf-8"))
    assert readable == {
        **metadata,
        "counts": {"fr": 2, "en": 0, "ja": 1},
        "counts_per_layer": {"fr": [1, 1], "en": [0, 0], "ja": [1, 0]},
        "sha256": hashlib.sha256((tmp_path / MASK_NAME).read_bytes()).hexdigest(),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.json", MASK_NAME]


def write(folder: Path, tensors: dict | None = None, drop: str = "", **metadata: Any) -> Path:
    """Writes a mask file with some tensors and metadata replaced, and those named `drop` left out."""
    SAVED.save(folder)
    old_tensors, old_metadata = load_tensors(folder / MASK_NAME, "mask")
    parts = (old_tensors | (tensors or {}), old_metadata | metadata)
    kept = ({key: value for key, value in part.items() if key != drop} for part in parts)
    save_tensors(folder / MASK_NAME, *kept)
    return folder / MASK_NAME


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"neurons.fr": torch.tensor([[0, 1], [2, 0]])}, "'fr' outside the model's 2 layers x 4 neurons"),
        ({"neurons.fr": torch.tensor([[0, 1], [1, 4]])}, "'fr' outside"),
        ({"neurons.fr": torch.tensor([[0, 1], [1, -1]])}, "'fr' outside"),
        ({"neurons.fr": torch.tensor([[-1, 1], [1, 1]])}, "'fr' outside"),
        ({"neurons.fr": torch.tensor([[2**62, 1], [1, 1]])}, "'fr' outside"),
        ({"neurons.fr": torch.tensor([[1, 2], [1, 2]])}, "'fr' twice"),
        ({"neurons.fr": torch.tensor([[0.0, 1.0], [1.0, 2.0]])}, "whole numbers"),
        ({"neurons.fr": torch.tensor([[0, 1, 1], [1, 2, 1]])}, "whole numbers"),
        ({"neurons.fr": torch.tensor([1, 2])}, "whole numbers"),
        ({"mean.fr": torch.tensor([1.5])}, "2 neurons for 'fr' but 1 means"),
        ({"mean.fr": torch.tensor([[1.5, 2.5]])}, "means"),
        ({"selection.fr": torch.tensor([0.5])}, "2 neurons for 'fr' but 1 selection probabilities"),
        ({"selection.fr": torch.tensor([0.5, float("nan")])}, "not finite"),
        ({"selection.fr": torch.tensor([0.5, 1.5])}, "from 0 to 1"),
        ({"selection.fr": torch.tensor([-0.5, 1.0])}, "from 0 to 1"),
        ({"mean.fr": torch.tensor([1.5, float("nan")])}, "not finite"),
    ],
)
def test_tensors_that_make_no_sense_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], match: str) -> None:
    file = write(tmp_path, tensors)
    with pytest.raises(lape.BadFile, match=match):
        lape.NeuronMask.load(file)


@pytest.mark.parametrize("missing", ["shape", "languages", "neurons.ja"])
def test_a_part_missing_is_refused(tmp_path: Path, missing: str) -> None:
    file = write(tmp_path, drop=missing)
    with pytest.raises(lape.BadFile, match="lacks their neurons"):
        lape.NeuronMask.load(file)


@pytest.mark.parametrize("shape", [[2], [2, 4, 6], None, ["two", "four"], "24x"])
def test_a_shape_that_is_none_is_refused(tmp_path: Path, shape: object) -> None:
    file = write(tmp_path, shape=shape)
    with pytest.raises(lape.BadFile, match="does not say its shape"):
        lape.NeuronMask.load(file)


def test_means_without_neurons_are_refused() -> None:
    with pytest.raises(lape.BadFile, match="means but no neurons for ja"):
        mask_of({"fr": [(0, 1)]}, {"ja": [1.0]})


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    statistics_of({"fr": [[1, 2]]}).save(tmp_path / STATISTICS_NAME)
    with pytest.raises(lape.BadFile, match="does not hold a mask"):
        lape.NeuronMask.load(tmp_path / STATISTICS_NAME)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "nowhere.safetensors"):
        with pytest.raises(lape.BadFile, match="There is no file"):
            lape.NeuronMask.load(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    file = write(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(lape.BadFile, match="damaged"):
        lape.NeuronMask.load(file)


def test_what_a_newer_version_wrote_is_kept_and_named(tmp_path: Path) -> None:
    file = write(tmp_path, flavour="vanilla", format=9)
    with pytest.warns(lape.LapeWarning, match="newer format; not understood: flavour"):
        loaded = lape.NeuronMask.load(file)
    assert loaded == SAVED
    assert loaded.metadata["flavour"] == "vanilla"
    loaded.save(tmp_path / "again")
    assert load_tensors(tmp_path / "again" / MASK_NAME, "mask")[1]["flavour"] == "vanilla"


# Bundled masks


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The four places a bundled mask may lie in, in the order they are asked."""
    monkeypatch.setenv("LAPE_PRECOMPUTED", str(tmp_path / "named"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("lape.masks.bundled.__file__", str(tmp_path / "site" / "lape" / "masks" / "bundled.py"))
    return [tmp_path / name for name in ("named", "here/precomputed", "site/precomputed", "site/lape/precomputed")]


def test_the_first_place_that_has_it_wins(roots: list[Path]) -> None:
    for place, root in reversed(list(enumerate(roots))):
        mask = mask_of({"fr": [(0, place)]})
        mask.save(root / "org--tiny" / "lape")
        assert bundled_folder("org/tiny").resolve() == root / "org--tiny" / "lape"
        assert lape.NeuronMask.from_pretrained(model="org/tiny") == mask


def test_what_there_is_is_named_when_it_is_missing(roots: list[Path]) -> None:
    mask_of({}).save(roots[2] / "org--tiny" / "lape")
    mask_of({}).save(roots[0] / "org--other" / "lape-top0.03")
    with pytest.raises(lape.BadFile) as error:
        lape.NeuronMask.from_pretrained(model="org/tiny", method="lapse")
    assert "No 'lapse' mask for org/tiny is bundled" in str(error.value)
    assert "There are: org/other lape-top0.03; org/tiny lape." in str(error.value)


def test_nothing_at_all(roots: list[Path]) -> None:
    with pytest.raises(lape.BadFile, match=r"There are: none\."):
        bundled_folder()


def test_presets_stand_for_their_model(roots: list[Path]) -> None:
    for model in EMBEDDED:
        mask_of({}).save(roots[0] / model.model.replace("/", "--") / "lape")
        assert bundled_folder(model.key).parent.name == model.model.replace("/", "--")
    assert bundled_folder() == bundled_folder(default_model()[0].model)
    with pytest.raises(lape.UnknownLabel, match="Did you mean 'smollm2-135m'"):
        bundled_folder("smollm-135m")
