"""Errors a user can act on."""

from __future__ import annotations

import pytest

import lape
from lape import errors


@pytest.mark.parametrize(
    ("name", "allowed", "text"),
    [
        ("frr", ["fr", "de"], "No language 'frr'. Did you mean 'fr'? There are: de, fr."),
        ("xyz", ["fr", "de"], "No language 'xyz'. There are: de, fr."),
        ("fr", [], "No language 'fr'. There are none."),
        ("zh-Hanz", ["zh-Hant", "zh-Hans"], "'zh-Hant' or 'zh-Hans'? There are: zh-Hans, zh-Hant."),
        (7, iter(["7B"]), "No language 7. Did you mean '7B'? There are: 7B."),
    ],
)
def test_an_unknown_name_gets_the_near_ones_and_all(name: str, allowed: list[str], text: str) -> None:
    error = errors.unknown_label("language", name, allowed)
    assert isinstance(error, lape.UnknownLabel)
    assert str(error).endswith(text)


def test_one_class_catches_them_all() -> None:
    found = {
        name: each
        for name, each in vars(errors).items()
        if getattr(each, "__module__", "") == errors.__name__ and isinstance(each, type)
    }
    assert set(found) == {name for name in lape.__all__ if hasattr(errors, name)}
    for name, error in found.items():
        assert issubclass(error, UserWarning if name == "LapeWarning" else lape.LapeError)
        assert error.__doc__


def test_the_public_names_are_all_there() -> None:
    assert sorted(set(lape.__all__)) == sorted(lape.__all__)
    assert all(hasattr(lape, name) for name in lape.__all__)
