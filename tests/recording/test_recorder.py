"""Recording counts what it says, exactly, also after it was interrupted, and its file is safe to read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from types import MethodType
from typing import Any

import oracle
import pytest
import torch
from compiling import WAYS
from families import CONTEXT, DOCUMENT_END, LAYERS, build, layers_of
from killing import forked
from safetensors import safe_open
from samples import statistics_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import (
    ActivationStatistics,
    BadFile,
    CheckpointMismatch,
    HookNotFired,
    LapeError,
    MaskMismatch,
    NotEnoughText,
    Recording,
    record,
)
from lape.recording import recorder as recording
from lape.storage.files import load_tensors, save_tensors

BLOCK, BATCH, BLOCKS = 16, 3, 8  # three passes a language, the last one with two blocks
SETTINGS = {"tokens": BLOCKS * BLOCK - 5, "block": BLOCK, "batch": BATCH, "progress": False}
# One token a byte: documents of several lengths, across the borders of blocks.
CORPORA = {
    "xx": [f"Ceci est le texte numéro {number}. " * (1 + number % 3) for number in range(6)],
    "yy": [f"{number} 这是一些文字" for number in range(200)],
}


def record_both(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> ActivationStatistics:
    return record(model, tokenizer, **{"corpora": CORPORA, **SETTINGS, **changes})


def assert_same(one: ActivationStatistics, other: ActivationStatistics) -> None:
    """Bit for bit the same numbers; the day may have changed in between."""
    assert one.tokens == other.tokens
    assert {**one.metadata, "date": ""} == {**other.metadata, "date": ""}
    for name in ("active", "sum", "positive_sum"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert all(torch.equal(mine[code], theirs[code]) for code in one.languages)


@contextmanager
def cut(model: PreTrainedModel, before_pass: int, error: type[BaseException] | Callable[[], None]) -> Iterator[None]:
    """Interrupts the model before its n-th pass, from 1, with an error or a call."""
    passes = iter(range(1, before_pass))

    def interrupt(*_: object) -> None:
        if next(passes, None) is None:
            if isinstance(error, type):
                raise error("cut")
            error()

    hook = model.get_decoder().register_forward_pre_hook(interrupt)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["llama", "opt", "gpt2", "phi3"])
def test_equals_the_oracle(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build(name)
    statistics = record_both(model, tokenizer)
    assert statistics.tokens == dict.fromkeys(CORPORA, BLOCKS * BLOCK)
    for code, documents in CORPORA.items():
        counts = oracle.record(model, tokenizer, documents, blocks_read=BLOCKS, block=BLOCK, batch=BATCH)
        oracle.assert_equal(statistics, code, counts)
        assert statistics.active[code].dtype == torch.int64
        assert statistics.sum[code].dtype == statistics.positive_sum[code].dtype == torch.float64
        assert 0 < statistics.probability(code).mean() < 1


@pytest.mark.parametrize("way", ["its decoder's forward", "its mlps"])
def test_a_compiled_model_is_counted_alike(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, way: str
) -> None:
    """Compiled code skips hooks that came after it."""
    expected = record_both(tiny_model, tokenizer)
    with torch.no_grad():
        WAYS[way](tiny_model)
        tiny_model.model(input_ids=torch.full((BATCH, BLOCK), 5), use_cache=False)
    assert_same(record_both(tiny_model, tokenizer), expected)
    torch._dynamo.reset()


def test_what_the_model_reads(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    read = []
    tiny_model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(kwargs["input_ids"]), with_kwargs=True
    )
    seen = record(tiny_model, tokenizer, {"xx": ["abcde", "é", "fgh"] * 4}, tokens=9 * 4, block=4, batch=2)
    read = read[1:]  # the first pass proves the architecture
    assert [tuple(ids.shape) for ids in read] == [(2, 4)] * 4 + [(1, 4)]

    one = [tokenizer.convert_tokens_to_ids(char) for char in "abcde"], tokenizer.encode("é"), tokenizer.encode("fgh")
    expected = [token for ids in one for token in (*ids, DOCUMENT_END)] * 4
    assert torch.cat([ids.flatten() for ids in read]).tolist() == expected[: 9 * 4]
    assert seen.metadata["special_tokens"] == {"document_end": DOCUMENT_END, "bos": False}


def test_a_pass_ends_when_all_is_counted(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    whole, passed = record_both(tiny_model, tokenizer), []
    *_, last = layers_of(tiny_model)
    last.mlp.down_proj.register_forward_hook(lambda *_: passed.append(True))
    assert_same(record_both(tiny_model, tokenizer), whole)
    assert not passed
    last._hf_hook = object()  # accelerate moves this layer's weights, and puts them back at its end
    assert_same(record_both(tiny_model, tokenizer), whole)
    assert len(passed) == len(CORPORA) * -(-BLOCKS // BATCH)
    tiny_model(torch.zeros(1, 3, dtype=torch.long))  # the model itself runs whole
    assert len(passed) == len(CORPORA) * -(-BLOCKS // BATCH) + 1


def test_too_little_text_is_refused_before_any_work(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    lape.activation_sites(tiny_model)
    corpora = {"xx": CORPORA["xx"], "yy": ["x" * 19] * 2}  # 40 tokens
    with cut(tiny_model, 1, ZeroDivisionError), pytest.raises(NotEnoughText, match=r"'yy' has text for 32 .* 128 "):
        record_both(tiny_model, tokenizer, corpora=corpora)
    statistics = record_both(tiny_model, tokenizer, corpora=corpora, allow_short=True)
    assert statistics.tokens == {"xx": 128, "yy": 32}
    with pytest.raises(NotEnoughText, match="'zz' has text for 0 tokens"):
        record_both(tiny_model, tokenizer, corpora={"zz": ["short"]}, allow_short=True)


def test_a_streamed_source_is_opened_once(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    class Streamed:
        streamed, opened = True, 0

        def __call__(self) -> Iterator[str]:
            self.opened += 1
            return iter(CORPORA["yy"])

    source = Streamed()
    statistics = record_both(tiny_model, tokenizer, corpora={"yy": source})
    assert source.opened == 1
    assert torch.equal(statistics.active["yy"], record_both(tiny_model, tokenizer).active["yy"])
    with pytest.raises(NotEnoughText, match=r"but 8000 were asked"):
        record_both(tiny_model, tokenizer, corpora={"yy": source}, tokens=8000)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before_pass", range(1, 7))
def test_resumes_exactly(
    before_pass: int,
    error: type[BaseException],
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    undisturbed = record_both(tiny_model, tokenizer)
    checkpoint = tmp_path / "new" / "checkpoint"
    with cut(tiny_model, before_pass, error), pytest.raises(error, match="cut"):
        record_both(tiny_model, tokenizer, checkpoint=checkpoint)
    assert not any(module._forward_hooks for module in tiny_model.modules())
    with cut(tiny_model, 8 - before_pass, ZeroDivisionError):  # only the passes that are left
        assert_same(record_both(tiny_model, tokenizer, checkpoint=checkpoint), undisturbed)
    assert not list(checkpoint.parent.iterdir())


def test_resumes_after_a_source_fails(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    class Failing:
        opened = 0

        def __call__(self) -> Iterator[str]:
            self.opened += 1
            yield from islice(CORPORA["yy"], 70)
            if self.opened == 2:  # the first time is for counting the text
                raise ConnectionError("the line is cut")
            yield from CORPORA["yy"][70:]

    settings = {"corpora": {"yy": Failing()}, "tokens": 2000, "checkpoint": tmp_path / "checkpoint"}
    with pytest.raises(ConnectionError, match="the line is cut"):
        record_both(tiny_model, tokenizer, **settings)
    resumed = record_both(tiny_model, tokenizer, **settings)
    assert_same(resumed, record_both(tiny_model, tokenizer, corpora={"yy": CORPORA["yy"]}, tokens=2000))


@pytest.fixture
def checkpoint(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A checkpoint with all of xx and a part of yy."""
    path = tmp_path / "checkpoint"
    with cut(tiny_model, 6, ZeroDivisionError), pytest.raises(ZeroDivisionError):
        record_both(tiny_model, tokenizer, checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": 8, "tokens": 8 * BLOCKS}, "block 16, not 8"),
        ({"batch": 2}, "batch 3, not 2"),
        ({"tokens": 112}, "blocks 8, not 7"),
        ({"corpora": {"yy": CORPORA["yy"], "xx": CORPORA["xx"]}}, r"languages \['xx', 'yy'\], not \['yy', 'xx'\]"),
        ({"corpora": {**CORPORA, "xx": ["Another", *CORPORA["xx"]]}}, "text of 'xx' is not the one"),
        ({"corpora": {**CORPORA, "yy": CORPORA["yy"][1:]}}, "text of 'yy' is not the one"),
    ],
)
def test_a_checkpoint_of_another_recording_is_refused(
    changes: dict[str, Any],
    message: str,
    checkpoint: Path,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(CheckpointMismatch, match=message):
        record_both(tiny_model, tokenizer, checkpoint=checkpoint, **changes)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("lost", ["settings", "date", "done", "sum.xx"])
def test_a_checkpoint_that_misses_a_part_is_refused(
    lost: str, checkpoint: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    tensors, metadata = load_tensors(checkpoint, "checkpoint")
    for part in (tensors, metadata):
        part.pop(lost, None)
    save_tensors(checkpoint, tensors, metadata)
    with pytest.raises(BadFile, match=f"lacks {lost}"):
        record_both(tiny_model, tokenizer, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"settings": ["block"]}, "its settings as a mapping"),
        ({"date": 5}, "its date as one line of text"),
        ({"done": ["xx"]}, "its done as a mapping"),
        ({"done": {"xx": {"blocks": -1, "sha256": ""}}}, "its done.xx.blocks as a whole number"),
        ({"done": {"a\nb": {"blocks": 1, "sha256": ""}}}, "its done as a mapping, each key a label"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_checkpoint_of_another_form_is_refused(
    about: dict[str, Any], said: str, checkpoint: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    tensors, metadata = load_tensors(checkpoint, "checkpoint")
    save_tensors(checkpoint, tensors, {**metadata, **about})
    with pytest.raises(BadFile, match=f"does not say {said}.*Delete it to begin again"):
        record_both(tiny_model, tokenizer, checkpoint=checkpoint)


def test_a_checkpoint_of_another_model_is_refused(checkpoint: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(CheckpointMismatch, match="dtype 'float32', not 'bfloat16'"):
        record_both(build("llama").bfloat16(), tokenizer, checkpoint=checkpoint)
    with pytest.raises(CheckpointMismatch, match="architecture 'llama', not 'opt'"):
        record_both(build("opt"), tokenizer, checkpoint=checkpoint)


def test_what_is_no_checkpoint_is_refused_and_kept(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "statistics.safetensors"
    record_both(tiny_model, tokenizer).save(path)
    with pytest.raises(BadFile, match="does not hold a checkpoint"):
        record_both(tiny_model, tokenizer, checkpoint=path)
    assert ActivationStatistics.load(path).languages == ("xx", "yy")


def record_to(model_folder: str, out: str, kill: str = "") -> int:
    """Records a model from disk into `out`, and gives an exit code; `kill` is when to end the own process (-9).

    "pass" is before the fifth pass, "write" when half of the third checkpoint is written.
    """
    model, tokenizer = lape.load_model(model_folder, device="cpu")
    lape.activation_sites(model)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if kill:
        recording.CHECKPOINT_EVERY_TOKENS = BLOCK * BATCH
    if kill == "write":
        save_file, calls = lape.storage.files.save_file, iter(range(2))

        def torn(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
            save_file(tensors, path, metadata)
            if next(calls, None) is None:
                os.truncate(path, path.stat().st_size // 2)
                die()

        lape.storage.files.save_file = torn
    with cut(model, 5 if kill == "pass" else sys.maxsize, die):
        statistics = record_both(model, tokenizer, checkpoint=Path(out) / "checkpoint")
    replace(statistics, metadata={**statistics.metadata, "date": ""}).save(Path(out) / "statistics.safetensors")
    return 0


def record_in_another_process(*arguments: str | Path, module: str = "test_recorder") -> int:
    """Runs `record_to` of a module of tests in a Python of its own, which takes seconds to start and hashes anew."""
    code = f"import conftest, sys, {module}; {module}.record_to(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment).returncode


@pytest.fixture(scope="module")
def undisturbed(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a recording in another process that nobody killed."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert record_in_another_process(tiny_folder, out) == 0
    return (out / "statistics.safetensors").read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.parametrize(("kill", "blocks_done"), [("pass", 11), ("write", 6)])
def test_kill_minus_nine(kill: str, blocks_done: int, tiny_folder: Path, undisturbed: bytes, tmp_path: Path) -> None:
    assert forked(lambda: record_to(str(tiny_folder), str(tmp_path), kill), tmp_path).killed
    assert not (tmp_path / "statistics.safetensors").exists()
    done = load_tensors(tmp_path / "checkpoint", "checkpoint")[1]["done"]
    assert sum(of_language["blocks"] for of_language in done.values()) == blocks_done
    record_to(str(tiny_folder), str(tmp_path))
    assert (tmp_path / "statistics.safetensors").read_bytes() == undisturbed
    assert not (tmp_path / "checkpoint").exists()


def test_a_recording_that_cannot_be_right_is_refused(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mlp = layers_of(tiny_model)[1].mlp
    lape.activation_sites(tiny_model)

    def bypass() -> None:
        mlp.forward = MethodType(lambda mlp, hidden: mlp.down_proj(mlp.gate_proj(hidden)), mlp)

    with cut(tiny_model, 2, bypass), pytest.raises(HookNotFired, match=r"layers \[1\]"):
        record_both(tiny_model, tokenizer)
    del mlp.forward
    mlp.gate_proj.weight[3, 4] = float("nan")
    with pytest.raises(LapeError, match="not finite"):
        record_both(tiny_model, tokenizer)


def test_activations_of_a_bfloat16_model_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    statistics = record_both(build("llama").bfloat16(), tokenizer)
    assert statistics.metadata["dtype"] == "bfloat16"
    assert 0 < statistics.probability("xx").mean() < 1


def test_the_checkpoint_is_written_while_it_records(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CHECKPOINT_EVERY_TOKENS", BLOCK * BATCH)
    path, seen = tmp_path / "checkpoint", []
    for _ in watched(tiny_model, tokenizer, checkpoint=path):
        seen.append(path.exists() and load_tensors(path, "checkpoint")[1]["done"]["xx"]["blocks"])
    assert seen == [False, 3, 6, 6, 6, 8, 8, 8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpora": {}}, "name at least one language"),
        ({"corpora": {"x/y": ["text"]}}, "'x/y' cannot be a language label"),
        ({"tokens": 0}, r"tokens \(0\)"),
        ({"block": 0}, r"block \(0\)"),
        ({"batch": 0}, r"batch \(0\)"),
        ({"block": CONTEXT + 1}, f"context of {CONTEXT}"),
        ({"batch": 2**22}, "is 16 x 4194304 tokens; at most 16777216"),
        (
            {"tokens": 2**53 + 1},
            r"At most 9,007,199,254,740,992 tokens a language can be counted, not 9007199254740993\.",
        ),
        ({"tokens": 10**4000}, r"can be counted, not 1000+\.\.\.0+\."),
        ({"tokens": -(10**4000)}, r"tokens \(-1000+\.\.\.0+\)"),
        ({"block": 10**4000}, r"A block of 1000+\.\.\.0+ tokens"),
        ({"batch": 10**4000}, r"16 x 1000+\.\.\.0+ tokens"),
    ],
)
def test_wrong_settings_are_refused(
    changes: dict[str, Any], message: str, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(LapeError, match=message) as error:
        record_both(tiny_model, tokenizer, **changes)
    assert len(str(error.value)) < 200


def test_as_many_tokens_as_can_be_counted_are_asked_for_in_no_time(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The languages' turns were once a list as long as the tokens asked for, whatever text there was."""
    asked = {"tokens": 2**53, "block": 1, "batch": 1, "in_turn": True, "allow_short": True}
    recording = Recording(tiny_model, tokenizer, {"xx": ["abc"], "yy": ["de"]}, **asked)
    turns = [step.language for step in islice(recording, 8)]
    assert turns == ["xx", "xx", "yy", "yy"] * 2  # at the beginning of each turn, and after a batch
    assert recording.asked_tokens == 2**54


@pytest.fixture(scope="module")
def statistics(tokenizer: PreTrainedTokenizerFast) -> ActivationStatistics:
    return record_both(build("llama"), tokenizer)


def test_halves_merge_into_the_whole(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    documents = [f"{number:015d}" for number in range(12)]  # a block each, with the end

    def recorded(code: str, chosen: list[str]) -> ActivationStatistics:
        return record_both(tiny_model, tokenizer, corpora={code: chosen}, tokens=BLOCK * len(chosen))

    merged = recorded("xx", documents[:6]).merge(recorded("xx", documents[6:])).merge(recorded("yy", documents[:2]))
    whole = recorded("xx", documents)
    assert merged.tokens == {"xx": 12 * BLOCK, "yy": 2 * BLOCK}
    assert torch.equal(merged.active["xx"], whole.active["xx"])
    torch.testing.assert_close(merged.sum["xx"], whole.sum["xx"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.positive_sum["xx"], whole.positive_sum["xx"], rtol=1e-12, atol=1e-12)
    assert [part["tokens"] for part in merged.metadata["corpora"]["xx"]] == [6 * BLOCK, 6 * BLOCK]
    only = {code: merged.of_languages([code]) for code in merged.tokens}
    assert only["xx"].languages == ("xx",)
    again = only["xx"].merge(only["yy"])
    assert (again.tokens, again.metadata) == (merged.tokens, merged.metadata)
    for name in ("active", "sum", "positive_sum"):
        assert all(torch.equal(getattr(again, name)[code], getattr(merged, name)[code]) for code in only)
    with pytest.raises(lape.UnknownLabel, match="'zz'"):
        merged.of_languages(["xx", "zz"])


@pytest.mark.parametrize("key", ["model", "revision", "dtype", "quantization", "block"])
def test_statistics_of_different_models_do_not_merge(statistics: ActivationStatistics, key: str) -> None:
    other = replace(statistics, metadata={**statistics.metadata, key: "other"})
    with pytest.raises(MaskMismatch, match=f"{key} .* and 'other' cannot be merged"):
        statistics.merge(other)


def test_save_and_load(statistics: ActivationStatistics, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    statistics.save(first)
    loaded = ActivationStatistics.load(first)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert loaded.languages == statistics.languages
    assert loaded.shape == statistics.shape
    assert loaded.metadata.items() >= statistics.metadata.items()
    for code in CORPORA:
        assert torch.equal(loaded.active[code], statistics.active[code])
        assert torch.equal(loaded.sum[code], statistics.sum[code].float().double())
        assert torch.equal(loaded.mean(code), loaded.sum[code] / 128)
    with safe_open(first, framework="pt") as file:
        assert file.get_tensor("active.xx").dtype == torch.uint16
        assert list(file.metadata()) == ["lape"]


def counted(tokens: int, positive_sum: float) -> ActivationStatistics:
    """One neuron that was active at 2 of some tokens."""
    return replace(
        statistics_of({"fr": [[2]]}, tokens), positive_sum={"fr": torch.tensor([[positive_sum]], dtype=torch.float64)}
    )


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [(2**16 - 1, torch.uint16), (2**16, torch.int32), (2**31 - 1, torch.int32), (2**31, torch.int64)],
)
def test_counts_take_the_narrowest_type_that_holds_them(tokens: int, kind: torch.dtype, tmp_path: Path) -> None:
    counted(tokens, 1.0).save(tmp_path / "one")
    assert load_tensors(tmp_path / "one", "statistics")[0]["active.fr"].dtype == kind


@pytest.mark.parametrize(
    ("positive_sum", "kind", "kept"),
    [
        (3.0, torch.float16, 3.0),  # a mean of 1.5
        (2 * (1 + 2**-11 + 2**-13), torch.float16, 2 * (1 + 2**-10)),  # up to the next number it has
        (2 * 65504.0, torch.float16, 2 * 65504.0),
        (2 * 70000.0, torch.float32, 2 * 70000.0),
    ],
)
def test_positive_sums_are_kept_as_means(positive_sum: float, kind: torch.dtype, kept: float, tmp_path: Path) -> None:
    counted(10, positive_sum).save(tmp_path / "one")
    assert load_tensors(tmp_path / "one", "statistics")[0]["positive_mean.fr"].dtype == kind
    assert ActivationStatistics.load(tmp_path / "one").positive_sum["fr"].item() == kept


def test_a_file_of_before_means_were_kept_gives_its_sums(statistics: ActivationStatistics, tmp_path: Path) -> None:
    statistics.save(tmp_path / "one")
    tensors, metadata = load_tensors(tmp_path / "one", "statistics")
    older = {name: tensor for name, tensor in tensors.items() if not name.startswith("positive_mean")}
    older |= {f"positive_sum.{code}": sums.float() for code, sums in statistics.positive_sum.items()}
    save_tensors(tmp_path / "two", older, metadata)
    loaded = ActivationStatistics.load(tmp_path / "two")
    assert all(torch.equal(loaded.positive_sum[code], older[f"positive_sum.{code}"].double()) for code in CORPORA)


def test_counts_beyond_32_bits_survive(statistics: ActivationStatistics, tmp_path: Path) -> None:
    many = replace(
        statistics,
        active={code: counts + 2**40 for code, counts in statistics.active.items()},
        tokens=dict.fromkeys(CORPORA, 2**41),
        metadata={**statistics.metadata, "tokens": dict.fromkeys(CORPORA, 2**41)},
    )
    many.save(tmp_path / "many")
    assert torch.equal(ActivationStatistics.load(tmp_path / "many").active["xx"], many.active["xx"])


def _with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        tensors, metadata = load_tensors(path, "statistics")
        save_tensors(path, {**tensors, name: change(tensors[name])}, metadata)

    return tamper


def _with_metadata(**changes: Any) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        tensors, metadata = load_tensors(path, "statistics")
        save_tensors(path, tensors, {**metadata, **changes})

    return tamper


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda path: path.unlink(), "There is no file"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
        (lambda path: path.write_bytes(b"\x80\x04" + path.read_bytes()), "damaged"),
        (_with_metadata(kind="mask"), "does not hold a statistics"),
        (_with_metadata(tokens=None), "does not say its tokens"),
        (_with_metadata(tokens={"xx": 128, "zz": 128}), "lacks the tensor 'active.zz'"),
        (_with_metadata(tokens={"xx": 128, "yy": "many"}), "tokens"),
        (_with_metadata(tokens={"xx": 128, "yy": 0}), "how many tokens"),
        (_with_tensor("active.yy", lambda counts: counts.long() + 128), "more often than there were tokens"),
        (_with_tensor("active.yy", lambda counts: counts.long() - 129), "more often than there were tokens"),
        (_with_tensor("sum.xx", lambda sums: sums[1:]), "different shapes"),
        (_with_tensor("sum.xx", lambda sums: sums * float("nan")), "finite"),
    ],
)
def test_a_bad_file_is_refused(
    tamper: Callable[[Path], None], message: str, statistics: ActivationStatistics, tmp_path: Path
) -> None:
    path = tmp_path / "statistics.safetensors"
    statistics.save(path)
    tamper(path)
    with pytest.raises(BadFile, match=message):
        ActivationStatistics.load(path)


def test_an_unknown_language_is_named(statistics: ActivationStatistics) -> None:
    assert statistics.shape[0] == LAYERS
    with pytest.raises(LapeError, match=r"No language in these activation statistics 'xy'\. Did you mean '(xx|yy)'"):
        statistics.mean("xy")


def watched(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Recording:
    given = {name: value for name, value in SETTINGS.items() if name != "progress"}
    return Recording(model, tokenizer, **{"corpora": CORPORA, **given, **changes})


def test_a_recording_is_watched_step_by_step(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    recording = watched(tiny_model, tokenizer)
    steps = [(step.language, step.tokens, step.total_tokens) for step in recording]
    xx = [("xx", 0, 0), ("xx", 48, 48), ("xx", 96, 96), ("xx", 128, 128)]
    assert steps == [*xx, ("yy", 0, 128), ("yy", 48, 176), ("yy", 96, 224), ("yy", 128, 256)]
    assert recording.asked_tokens == recording.tokens == 256
    assert_same(recording.statistics(), record_both(tiny_model, tokenizer))


def test_in_turn_counts_the_same(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    recording = watched(tiny_model, tokenizer, in_turn=True)
    steps = list(recording)
    counted = [step.language for before, step in pairwise(steps) if step.total_tokens > before.total_tokens]
    assert counted == ["xx", "yy"] * 3
    assert_same(recording.statistics(), record_both(tiny_model, tokenizer))


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("stop_after", range(1, 9))
def test_leaving_the_loop_keeps_what_is_counted_and_a_new_loop_goes_on(
    stop_after: int, in_turn: bool, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    recording = watched(tiny_model, tokenizer, in_turn=in_turn)
    with closing(iter(recording)) as steps:
        done = [step for _, step in zip(range(stop_after), steps, strict=False)][-1]
    assert not any(module._forward_hooks for module in tiny_model.modules())
    assert recording.tokens == done.total_tokens
    if done.total_tokens == 0:
        with pytest.raises(NotEnoughText, match="Nothing has been counted yet"):
            recording.statistics()
    else:
        kept = recording.statistics()
        assert sum(kept.tokens.values()) == done.total_tokens
        for code, tokens in kept.tokens.items():
            alone = record_both(tiny_model, tokenizer, corpora={code: CORPORA[code]}, tokens=tokens)
            assert torch.equal(kept.active[code], alone.active[code])
            assert torch.equal(kept.sum[code], alone.sum[code])
        if in_turn and stop_after > 4:
            assert set(kept.tokens) == {"xx", "yy"}
    assert [step.total_tokens for step in recording][-1] == 256
    assert_same(recording.statistics(), record_both(tiny_model, tokenizer))


def test_a_recording_that_was_left_keeps_its_checkpoint(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    for step in watched(tiny_model, tokenizer, checkpoint=path, in_turn=True):
        if step.total_tokens == 144:
            break
    with cut(tiny_model, 4, ZeroDivisionError):  # only the passes that are left
        assert_same(record_both(tiny_model, tokenizer, checkpoint=path), record_both(build("llama"), tokenizer))
    assert not path.exists()


def test_identification_says_which_language_was_not_reached(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    recording = watched(tiny_model, tokenizer)
    for step in recording:
        if step.total_tokens >= 96:
            break
    assert recording.statistics().languages == ("xx",)
    with pytest.raises(LapeError, match=r"No language in these activation statistics 'yy'.*There are: xx\."):
        lape.identify(recording.statistics(), languages=["xx", "yy"])
