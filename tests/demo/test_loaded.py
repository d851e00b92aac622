"""What the page works on: a model is loaded, let go, given another mask; on a tiny random model from disk."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lape import LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.compare.comparison import compare, request_of
from lape.demo.compare.request import DEFAULTS
from lape.demo.loaded import Loaded, read_mask

SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=5)


@pytest.fixture
def own(tokenizer: Any, tiny_folder: Path) -> Backend:
    """A backend of its own, with a model from disk that no mask is known for."""
    return Backend(Loaded.load(str(tiny_folder)))


def two_languages(model: str = "", shape: tuple[int, int] = (3, 128)) -> NeuronMask:
    cells = torch.tensor([[0, 1], [1, 2]], dtype=torch.int32)
    return NeuronMask({"fr": cells, "es": cells + 1}, {}, shape, {"model": model})


def test_a_model_without_a_mask_is_loaded_and_says_so(own: Backend, tiny_folder: Path) -> None:
    assert own.ready().name == str(tiny_folder)
    assert "No 'lape' mask for" in own.ready().notes[0]
    assert own.languages() == ()
    with pytest.raises(LapeError, match=r"There is no mask for .* see the tab Masks"):
        request_of(own, vars(SHORT))


def test_unloading_frees_the_model(own: Backend) -> None:
    model = weakref.ref(own.ready().model)
    version = own.version()
    own.unload()
    assert model() is None
    assert own.version() != version
    with pytest.raises(LapeError, match=r"No model is loaded. Choose one and press Load."):
        list(compare(own, SHORT))


def test_loading_lets_the_old_model_go_first(own: Backend, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, alive = weakref.ref(own.ready().model), []
    load = Loaded.load
    monkeypatch.setattr(Loaded, "load", lambda *words: alive.append(old() is not None) or load(*words))
    assert own.load(str(tiny_folder)).name == str(tiny_folder)
    assert alive == [False]


def test_a_model_that_does_not_load_leaves_none_and_says_why(own: Backend, tmp_path: Path) -> None:
    with pytest.raises(LapeError, match=r"could not be loaded|cannot be reached|not in the cache"):
        own.load(str(tmp_path / "no" / "model"))
    assert own.loaded is None
    with pytest.raises(LapeError, match=f"No model is loaded. .*{tmp_path.name}"):
        own.ready()
    own.unload()
    assert own.failure == ""


def test_an_unknown_name_leaves_what_is_loaded(own: Backend) -> None:
    with pytest.raises(LapeError, match=r"No preset or model folder 'smolm'"):
        own.load("smolm")
    assert own.ready()


def test_a_public_page_loads_the_models_of_the_menu_only(own: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "org/space")
    for other in ("org/other", "/etc", "Qwen/Qwen3-0.6B/../x"):
        with pytest.raises(LapeError, match=r"only the models of the menu"):
            own.load(other)
    assert own.ready()


def test_a_mask_of_another_model_is_refused_by_name(own: Backend, tmp_path: Path) -> None:
    two_languages("org/other").save(tmp_path)
    with pytest.raises(LapeError, match=r"made for org/other, but .* is loaded. Load org/other first"):
        own.change("", lambda loaded: loaded.with_mask(*read_mask(tmp_path)))
    assert own.ready().mask is None


def test_a_mask_of_this_model_is_used(own: Backend, tmp_path: Path) -> None:
    two_languages(own.ready().name).save(tmp_path)
    version = own.version()
    own.change("", lambda loaded: loaded.with_mask(*read_mask(tmp_path)))
    assert own.languages() == ("fr", "es")
    assert own.version() != version
    assert list(next(iter(compare(own, SHORT)))) == ["on", "off"]  # no means, no steering


def test_others_wait_while_a_model_runs(own: Backend, tmp_path: Path) -> None:
    two_languages(own.ready().name).save(tmp_path)
    own.change("", lambda loaded: loaded.with_mask(*read_mask(tmp_path)))
    handle = own.ready().model.register_forward_pre_hook(lambda *_: time.sleep(0.02))
    with closing(compare(own, replace(SHORT, max_new_tokens=40))) as states:
        next(states)
        waiting = threading.Thread(target=own.unload)
        waiting.start()
        next(states)
        assert own.loaded is not None
    handle.remove()
    waiting.join(20)
    assert own.loaded is None
