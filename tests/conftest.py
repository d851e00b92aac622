"""Fixtures for all tests: nothing reaches the network, models are tiny and random, except the embedded ones."""

from __future__ import annotations

import os

# For the processes that tests start, and for what is not imported yet; two workers have a core each.
os.environ["HF_HUB_OFFLINE"] = os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import hypothesis
import pytest
import torch
from families import FAMILIES, build, byte_tokenizer
from hub_standin import Hub, standing_in
from mixtures import MIXTURES
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape.models.embedded import GEMMA, SMOLLM2

pytest_plugins = ["browsing"]
huggingface_hub.constants.HF_HUB_OFFLINE = True  # pytest's filter of LapeWarning has imported it before
torch.set_num_threads(1)
os.fsync = lambda _: None  # ten thousand waits for the disk: kills are tested here, not power cuts

# Property tests: the same examples in every run, judged by what they do and never by the time they take.
hypothesis.settings.register_profile("lape", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("lape")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """The name of each supported family in turn."""
    return request.param


@pytest.fixture(params=MIXTURES)
def mixture(request: pytest.FixtureRequest) -> str:
    """The name of each family of mixtures of experts in turn."""
    return request.param


@pytest.fixture
def tiny_model() -> PreTrainedModel:
    return build("llama")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in Hub that this process and its children talk to, with an empty cache and nobody logged in."""
    with standing_in(tmp_path / "huggingface", monkeypatch) as hub:
        yield hub


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token per UTF-8 byte; shared, so leave it as it is."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny Llama and its tokenizer on disk, wide enough for 4-bit weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    build("llama", hidden_size=64, intermediate_size=128, head_dim=16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedded() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The real SmolLM2, for slow tests: shared, so leave it as it is."""
    if obstacle := SMOLLM2.obstacle():
        pytest.skip(obstacle)
    return lape.load_model(SMOLLM2.model, device="cpu")


@pytest.fixture(scope="session")
def gemma() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The real Gemma, for slow tests: shared, so leave it as it is."""
    if obstacle := GEMMA.obstacle():
        pytest.skip(obstacle)
    return lape.load_model(GEMMA.model, device="cpu")
