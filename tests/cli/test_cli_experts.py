"""A mixture of experts from text to steered text, with the commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mixtures import EXPERTS, WIDTH, build_mixture
from transformers import PreTrainedTokenizerFast

from lape import ActivationStatistics, NeuronMask
from lape.cli import main


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3"])
def test_from_text_to_steered_text(
    name: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    model, corpus, out = tmp_path / "model", tmp_path / "corpus", tmp_path / "out"
    build_mixture(name).save_pretrained(model)
    tokenizer.save_pretrained(model)
    corpus.mkdir()
    for code, text in {"fr": "Il était une fois une fille.", "ru": "Жила-была девочка."}.items():
        (corpus / f"{code}.train.txt").write_text("\n\n".join(f"{text} {n}" for n in range(20)), encoding="utf-8")

    words = ["--corpus", str(corpus), "--tokens", "160", "--block", "20", "--groups", "2", "--out", str(out)]
    assert main(["record", "--model", str(model), *words]) == 0
    said = capsys.readouterr().out
    assert f"Of {EXPERTS} experts in a layer, the least used had" in said
    statistics = ActivationStatistics.load(out / "statistics.safetensors")
    assert statistics.routed["fr"][statistics.layers[-1]].sum() == 2 * 160

    rates = ["--top-rate", "0.3", "--filter-rate", "0.3", "--bar", "0.3"]
    assert main(["identify", str(out), *rates]) == 0
    mask = NeuronMask.load(out)
    assert (mask.experts, mask.shape[1]) == (EXPERTS, EXPERTS * WIDTH)
    assert mask.count("fr")

    capsys.readouterr()
    assert main(["neurons", str(out), "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.split()[:4] == ["language", "layer", "expert", "neuron"]
    assert "of those routed to the expert" in shown
    assert main(["neurons", str(out), "--limit", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["neurons"]
    assert row["name"] == f"{row['layer']}.e{row['neuron'] // WIDTH}.{row['neuron'] % WIDTH}"

    assert main(["look", "Il fut", "--model", str(model), "--mask", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compared_with_statistics"]

    steered = ["--mask", str(out), "--off", "fr", "--on", "ru", "--max-new-tokens", "4", "--json"]
    assert main(["generate", "Bonjour", "--model", str(model), *steered]) == 0
    texts = json.loads(capsys.readouterr().out)
    assert texts
