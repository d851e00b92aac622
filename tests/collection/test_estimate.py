"""What a plan will take: tokens and weights counted by hand, and models that cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from collecting import REPO, lay, models_on
from families import HIDDEN, LAYERS, VOCABULARY, WIDTH
from hub_standin import Hub

from lape.cli import main
from lape.collection.estimate import estimate, products_per_second
from lape.collection.reading import read_plan
from lape.models.memory import ROOM

RATE = 1e6  # operations a second, for the estimate


@pytest.fixture
def plan(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plan of the tiny models, which are on the Hub; nothing of them but configurations is fetched."""
    models_on(hub, tmp_path / "models")
    lay(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("lape.collection.estimate.products_per_second", lambda device, dtype: RATE)
    return "plan.toml"


def test_figures_are_those_of_the_configuration(plan: str, hub: Hub) -> None:
    found = estimate(read_plan(plan))
    llama = found.models[0]
    attention = HIDDEN * HIDDEN * 2 + HIDDEN * HIDDEN // 2 * 2  # of two heads of four are keys and values
    layer = attention + 3 * HIDDEN * WIDTH + 2 * HIDDEN
    decoder, head = LAYERS * layer + HIDDEN, HIDDEN * VOCABULARY
    assert (llama.model, llama.masks, llama.languages, llama.tokens) == ("org/llama", ("lape",), ("de", "en"), 256)
    # Costs: each of 2 texts untouched and with each of 2 languages off; with as many random neurons off, 2 for each.
    cells = 2 + 2 * 2 + 2 * 2
    read = decoder * 256 + (decoder + head) * cells * 64
    assert llama.seconds == pytest.approx(2 * read / (0.6 * RATE), abs=0.1)
    full = 4 * (decoder + 2 * head)
    assert llama.needed_bytes == pytest.approx(1.05 * full + ROOM, abs=1000)  # and a few buffers
    assert found.seconds == sum(model.seconds or 0 for model in found.models)
    assert not hub.asked("GET .*model.safetensors")


def test_a_model_that_cannot_be_had_is_named_and_costs_nothing(
    plan: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repos["org/gpt2"].gated = True
    config = json.loads(hub.repos["org/llama"].read("config.json"))
    mamba = {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}
    hub.repos["org/opt"].commit({"config.json": json.dumps(config | mamba).encode()}, "no FFN")
    assert main(["collect", plan, "--repo", REPO, "--dry-run", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    llama, opt, gpt2 = found["models"]
    assert llama["refused"] is None
    assert "its layers have no activation module" in opt["refused"]
    assert "org/gpt2 is gated" in gpt2["refused"]
    assert (opt["seconds"], gpt2["needed_bytes"]) == (None, None)
    assert found["seconds"] == llama["seconds"]
    assert REPO not in hub.repos
    assert not Path("collection").exists()


def test_the_table_says_what_the_figures_leave_out(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(plan).read_text()
    Path(plan).write_text(text.replace('"layers"]', '"layers", "harm"]'))
    assert main(["collect", plan, "--repo", REPO, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["model", "masks", "languages", "tokens", "memory", "time"]
    assert "org/opt: The time of harm is not in the figure." in printed
    assert "Time is rough" in printed


def test_a_product_is_measured() -> None:
    assert products_per_second("cpu", torch.float32) > 1e6
