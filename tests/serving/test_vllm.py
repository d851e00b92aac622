"""vLLM itself counts what transformers counts and writes the same steered text: `make test-vllm`.

vLLM has an environment of its own, since it asks for another transformers than lape does; LAPE_VLLM names its Python.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import ActivationStatistics, Intervention, NeuronMask, generate_rows
from lape.generation.prompts import prompt_ids
from lape.masks.bundled import bundled_folder
from lape.models.embedded import GEMMA, SMOLLM2
from lape.recording.groups import BlockGroups
from lape.recording.record import record_groups

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif("LAPE_VLLM" not in os.environ, reason="vLLM is not installed here: make test-vllm"),
]

CORPORA = {
    "fr": [f"En {1900 + year}, la ville de Lyon comptait {year} ponts sur le Rhône et la Saône." for year in range(40)],
    "ja": [f"{1900 + year}年、京都には{year}の橋がありました。川の水はとても冷たいです。" for year in range(40)],
}
RECORD = {"tokens": 640, "block": 64, "groups": 2, "snapshots": [320]}
PLANS: dict[str, dict[str, Any]] = {
    "off": {"off": "en"},
    "off-later": {"off": "en", "off_value": -1.0, "positions": "generated"},
    "french": {"off": "en", "on": "fr", "strength": 1.25},
    "more-french": {"on": "fr", "mode": "add", "strength": 2.0, "positions": "prompt"},
    "scaled": {"on": "en", "mode": "scale", "strength": 3.0},
}
PROMPTS = ["The capital of France is", "Yesterday I went to the market and bought", "My name is"]
ROWS = [(prompt, plan) for prompt in PROMPTS for plan in (None, *PLANS)]
NEW_TOKENS = 16


@dataclass(frozen=True)
class Both:
    """A model in transformers, and what vLLM made of the same task."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    mask: NeuronMask
    out: Path


@pytest.fixture(scope="module", params=["smollm2", "gemma"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    name, fixture = {"smollm2": (SMOLLM2, "embedded"), "gemma": (GEMMA, "gemma")}[request.param]
    model, tokenizer = request.getfixturevalue(fixture)
    out, mask = tmp_path_factory.mktemp(request.param), bundled_folder(name.model)
    task = {
        "folder": str(name.folder),
        "model": name.model,
        "revision": name.revision,
        # A pass has fewer tokens than the prompts: they are read in pieces, beside tokens of other requests.
        "settings": {"dtype": "float32", "max_model_len": 256, "max_num_batched_tokens": 100, "max_num_seqs": 6}
        | {"kv_cache_memory_bytes": 1 << 28, "enable_chunked_prefill": True},
        "corpora": CORPORA,
        "record": RECORD,
        "mask": str(mask),
        "plans": PLANS,
        "rows": [(prompt_ids(tokenizer, prompt), plan) for prompt, plan in ROWS],
        "tokens": NEW_TOKENS,
        "out": str(out),
    }
    (out / "task.json").write_text(json.dumps(task))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    script = ROOT / "tests" / "support" / "in_vllm.py"
    subprocess.run([os.environ["LAPE_VLLM"], script, out / "task.json"], env=environment, cwd=out, check=True)
    return Both(model, tokenizer, NeuronMask.load(mask), out)


def test_it_counts_what_transformers_counts(both: Both) -> None:
    """An activation that is nearly 0 may fall on the other side of it, and does so again where text repeats itself."""
    expected, expected_groups = record_groups(both.model, both.tokenizer, CORPORA, **RECORD, progress=False)
    found = ActivationStatistics.load(both.out / "statistics.safetensors")
    groups = BlockGroups.load(both.out / "groups.safetensors")
    assert found.tokens == expected.tokens
    same = ("model", "revision", "architecture", "dtype", "quantization", "corpora", "block", "special_tokens")
    assert {key: found.metadata[key] for key in same} == {key: expected.metadata[key] for key in same}
    assert "vllm" in found.metadata["library"]
    for code in CORPORA:
        off_by = (found.active[code] - expected.active[code]).abs()
        assert off_by.max() <= 0.02 * expected.tokens[code]
        assert off_by.double().mean() <= 1e-5 * expected.tokens[code]
        assert (groups.active[code].sum(0) == found.active[code]).all()
        assert (groups.active[code] - expected_groups.active[code]).abs().max() <= 0.02 * expected.tokens[code]
        torch.testing.assert_close(found.sum[code], expected.sum[code], rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(found.positive_sum[code], expected.positive_sum[code], rtol=2e-3, atol=2e-3)


def test_it_writes_the_same_steered_text(both: Both) -> None:
    plans = {name: Intervention(both.mask, **plan) for name, plan in PLANS.items()}
    *_, last = generate_rows(
        both.model,
        both.tokenizer,
        [prompt for prompt, _ in ROWS],
        [plan and plans[plan] for _, plan in ROWS],
        max_new_tokens=NEW_TOKENS,
        repetition_penalty=1.0,
    )
    written = json.loads((both.out / "texts.json").read_text())
    texts = both.tokenizer.batch_decode(written["mixed"], skip_special_tokens=True)
    assert texts == [last.texts[row] for row in range(len(ROWS))]
    assert len(set(texts)) > len(PLANS) * 2  # so much is switched that it shows


def test_a_row_in_a_mixed_batch_is_what_it_is_alone(both: Both) -> None:
    written = json.loads((both.out / "texts.json").read_text())
    assert written["mixed"] == written["alone"]
