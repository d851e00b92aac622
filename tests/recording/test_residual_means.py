"""Sums of the residual stream are those of plain loops, and their file is safe to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from families import DOCUMENT_END, EOS, HIDDEN, LAYERS, build, byte_tokenizer, layers_of
from hooking import hooks
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import (
    BadFile,
    LapeError,
    LapeWarning,
    MaskMismatch,
    NotEnoughText,
    ResidualMeans,
    UnknownLabel,
    record,
    record_residuals,
)
from lape.storage.files import load_tensors, save_tensors

CORPORA = {
    "xx": [f"Ceci est le texte numéro {number}. " * (1 + number % 3) for number in range(4)],
    "yy": [f"{number} 这是一些文字" for number in range(60)],
}
BLOCK, BLOCKS = 8, 5
SETTINGS: dict[str, Any] = {"tokens": BLOCKS * BLOCK - 3, "block": BLOCK, "batch": 2, "progress": False}


def recorded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> ResidualMeans:
    return record_residuals(model, tokenizer, **{"corpora": CORPORA, **SETTINGS, **changes})


def tokens_by_hand(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, code: str, before: list[int]
) -> list[list[list[float]]]:
    """The stream after each layer at each token, `[layer][token][dimension]`, one block after the other."""
    found: list[list[list[float]]] = [[] for _ in range(LAYERS)]

    def keep(layer: int, output: Any) -> None:
        stream = output if isinstance(output, torch.Tensor) else output[0]
        found[layer].extend(stream[0, len(before) :].double().tolist())

    kept = [
        layer.register_forward_hook(lambda _m, _i, output, number=number: keep(number, output))
        for number, layer in enumerate(layers_of(model))
    ]
    for ids in oracle.blocks(tokenizer, CORPORA[code], BLOCK)[:BLOCKS]:
        model(torch.tensor([[*before, *ids]]))
    for hook in kept:
        hook.remove()
    return found


@pytest.mark.parametrize("name", ["llama", "mpt", "gemma3", "opt"])
@pytest.mark.parametrize("template", [None, "<|im_end|> $A"])
def test_sums_are_those_of_plain_loops(name: str, template: str | None) -> None:
    model, tokenizer = build(name), byte_tokenizer(template)
    before = [] if template is None else [EOS]
    means = recorded(model, tokenizer, covariance_layers=[2, 0])
    assert not hooks(model)
    assert means.tokens == {"xx": 40, "yy": 40}
    by_language = {code: tokens_by_hand(model, tokenizer, code, before) for code in CORPORA}
    for code, layers in by_language.items():
        sums = [[sum(column) for column in zip(*tokens, strict=True)] for tokens in layers]
        norms = [sum(sum(value**2 for value in token) ** 0.5 for token in tokens) for tokens in layers]
        torch.testing.assert_close(means.sum[code], torch.tensor(sums, dtype=torch.float64), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(means.norm_sum[code], torch.tensor(norms, dtype=torch.float64), rtol=1e-5, atol=0)
    assert list(means.covariances) == [0, 2]
    for layer, covariance in means.covariances.items():
        expected = torch.zeros(HIDDEN, HIDDEN, dtype=torch.float64)
        for layers in by_language.values():
            tokens = torch.tensor(layers[layer], dtype=torch.float64)
            for token in tokens:
                expected += torch.outer(token - tokens.mean(0), token - tokens.mean(0)) / 80
        torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-4)


def test_means_count_languages_alike(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    texts = {**CORPORA, "zz": CORPORA["xx"][:1]}
    means = recorded(tiny_model, tokenizer, corpora=texts, allow_short=True)
    assert means.tokens == {"xx": 40, "yy": 40, "zz": 24}
    torch.testing.assert_close(means.mean(["zz"]), means.sum["zz"] / 24)
    torch.testing.assert_close(means.mean(["xx", "zz"]), (means.sum["xx"] / 40 + means.sum["zz"] / 24) / 2)
    everything = means.sum["xx"] / 40 + means.sum["yy"] / 40 + means.sum["zz"] / 24
    torch.testing.assert_close(means.mean(), everything / 3)
    torch.testing.assert_close(means.norm(["yy"]), means.norm_sum["yy"] / 40)
    with pytest.raises(UnknownLabel, match=r"No language in these residual means 'xy'. Did you mean 'yy'"):
        means.mean(["xy"])


def test_where_the_means_come_from(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    means, statistics = recorded(tiny_model, tokenizer), record(tiny_model, tokenizer, CORPORA, **SETTINGS)
    assert means.metadata == statistics.metadata | {"date": means.metadata["date"]}
    assert means.metadata["special_tokens"]["document_end"] == DOCUMENT_END
    assert list(means.covariances) == [0]  # of three layers the first ends the first half


def test_a_file_holds_the_same(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    means = recorded(tiny_model, tokenizer)
    means.save(tmp_path / "a")
    loaded = ResidualMeans.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert loaded.tokens == means.tokens
    torch.testing.assert_close(loaded.mean(["xx"]), means.mean(["xx"]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loaded.covariances[0], means.covariances[0], rtol=1e-6, atol=1e-6)
    loaded.check(tiny_model)
    with pytest.raises(MaskMismatch, match=r"3 layers x 32 dimensions.*2 layers x 32 dimensions"):
        loaded.check(build("llama", num_hidden_layers=2))
    tiny_model.name_or_path = "org/this"
    with pytest.warns(LapeWarning, match="residual means were made for org/that, not org/this"):
        replace(means, metadata={"model": "org/that"}).check(tiny_model)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("sum.xx", None, "lacks the tensor 'sum.xx'"),
        ("norm_sum.yy", torch.ones(LAYERS + 1), r"'norm_sum.yy' in another form than \[3\]"),
        ("sum.yy", torch.ones(LAYERS, HIDDEN, 1), r"'sum.yy' in another form than \[3, 32\]"),
        ("sum.xx", torch.ones(LAYERS, HIDDEN, dtype=torch.bool), "'sum.xx' in another form"),
        ("sum.xx", torch.tensor(1.0), "in another form"),
        ("norm_sum.xx", torch.full((LAYERS,), torch.nan), "not finite in 'norm_sum.xx'"),
        ("covariance.0", torch.ones(HIDDEN, 1), r"'covariance.0' in another form than \[32, 32\]"),
        ("covariance.3", torch.ones(HIDDEN, HIDDEN), "covariance of layer 3, but has only 3 layers"),
    ],
)
def test_a_damaged_file_is_refused(
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    name: str,
    tensor: torch.Tensor | None,
    message: str,
) -> None:
    recorded(tiny_model, tokenizer).save(tmp_path / "a")
    tensors, metadata = load_tensors(tmp_path / "a", "residuals")
    changed = {key: found for key, found in {**tensors, name: tensor}.items() if found is not None}
    save_tensors(tmp_path / "b", changed, metadata)
    with pytest.raises(BadFile, match=message):
        ResidualMeans.load(tmp_path / "b")


def test_what_cannot_be_recorded_is_refused(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(NotEnoughText, match=r"'xx' has text for 2.. tokens in blocks of 8"):
        recorded(tiny_model, tokenizer, tokens=10_000)
    with pytest.raises(LapeError, match="no layer 3; the model's layers are 0 to 2"):
        recorded(tiny_model, tokenizer, covariance_layers=[3])
    layers_of(tiny_model)[1].mlp.down_proj.weight.fill_(torch.inf)
    with pytest.raises(LapeError, match="residual stream is not finite"):
        recorded(tiny_model, tokenizer)
