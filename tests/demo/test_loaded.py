"""What the page works on: a model is loaded, let go, given another mask; on a tiny random model from disk."""

from __future__ import annotations

import json
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
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
from lape.errors import ModelUnavailable
from lape.models import loading

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


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, own: Backend) -> list[bool]:
    """Whether the model that was there is still in memory, at each load of another."""
    old, alive = weakref.ref(own.ready().model), []
    load = Loaded.load
    monkeypatch.setattr(Loaded, "load", lambda *words: alive.append(old() is not None) or load(*words))
    return alive


def leave_room(monkeypatch: pytest.MonkeyPatch, beside: bool) -> None:
    """Memory for another model only where the present one goes, unless there is room beside it."""
    find = loading.find_model

    def finding(*words: Any, **named: Any) -> Any:
        if not beside and named.get("in_place_of") is None:
            raise ModelUnavailable("It needs more memory than there is.")
        return find(*words, **named)

    monkeypatch.setattr("lape.demo.backend.find_model", finding)


@pytest.mark.parametrize("beside", [True, False])
def test_the_old_model_goes_first_only_where_memory_does_not_hold_both(
    own: Backend, tiny_folder: Path, loads: list[bool], beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_room(monkeypatch, beside)
    assert own.load(str(tiny_folder)).name == str(tiny_folder)
    assert loads == [beside]


@pytest.mark.parametrize("beside", [True, False])
def test_a_load_that_fails_leaves_what_there_was(
    own: Backend, tiny_folder: Path, tmp_path: Path, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_room(monkeypatch, beside)
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    version = own.version()
    with pytest.raises(LapeError, match="broken could not be loaded"):
        own.load(str(broken))
    assert own.ready().name == str(tiny_folder)
    assert (own.version() == version) is beside
    assert list(own.run(naming)) == ["LlamaForCausalLM"]


def naming(model: Any, tokenizer: Any) -> Iterator[str]:
    yield type(model).__name__


@pytest.mark.parametrize("damage", ["no config", "no causal language model", "too large"])
def test_what_cannot_be_had_is_refused_before_anything_is_let_go(
    own: Backend, tiny_folder: Path, tmp_path: Path, damage: str, loads: list[bool]
) -> None:
    there = tmp_path / "there"
    shutil.copytree(tiny_folder, there)
    config = json.loads((there / "config.json").read_text())
    if damage == "no config":
        (there / "config.json").unlink()
    elif damage == "too large":
        (there / "config.json").write_text(json.dumps(config | {"intermediate_size": 10**12}))
    else:
        (there / "config.json").write_text(json.dumps({"model_type": "t5"}))
    before = own.ready()
    with pytest.raises(LapeError, match=r"holds no config\.json|needs about|not a causal language model"):
        own.load(str(there))
    assert own.ready() is before
    assert loads == []


def test_a_model_that_does_not_load_into_nothing_leaves_none_and_says_why(own: Backend, tmp_path: Path) -> None:
    own.unload()
    with pytest.raises(LapeError, match=r"could not be loaded|cannot be reached|not in the cache"):
        own.load(str(tmp_path / "no" / "model"))
    assert own.loaded is None
    with pytest.raises(LapeError, match=f"No model is loaded. .*{tmp_path.name}"):
        own.ready()
    own.unload()
    assert own.failure == ""


def test_a_shared_page_unloads_nothing(own: Backend) -> None:
    own.shared = True
    with pytest.raises(LapeError, match="On this shared page the model stays loaded"):
        own.unload()
    assert own.ready()


def test_an_unknown_name_leaves_what_is_loaded(own: Backend) -> None:
    with pytest.raises(LapeError, match=r"No preset or model folder 'smolm'"):
        own.load("smolm")
    assert own.ready()


def test_a_shared_page_loads_the_models_of_the_menu_only(own: Backend) -> None:
    own.shared = True
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
