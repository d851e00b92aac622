"""Rows of one batch: which tokens are chosen, what is streamed, and how it ends."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from families import DOCUMENT_END, EOS, VOCABULARY, build, random_mask, token_ids
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, LapeError, MaskMismatch, Update, generate_rows, side_by_side
from lape.generation.prompts import encode
from lape.generation.streaming import Row

SAMPLED = {"temperature": 1.0, "top_p": 0.9}


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    """Every token is its own number as a word, so that a text says which tokens it is."""
    vocabulary = {"<end>" if number == EOS else str(number): number for number in range(VOCABULARY)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")


@pytest.fixture
def steer(tiny_model: PreTrainedModel) -> Intervention:
    """An intervention that changes every layer."""
    return Intervention(random_mask((3, 48)), off="aa", on="bb", strength=3.0)


@pytest.fixture
def passes(tiny_model: PreTrainedModel) -> list[int]:
    """Rows of each forward pass of the tiny model."""
    seen: list[int] = []
    tiny_model.register_forward_pre_hook(
        lambda _model, _args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return seen


def prompt(length: int = 6, seed: int = 0) -> str:
    """Random words."""
    return " ".join(map(str, token_ids(1, length, seed)[0].tolist()))


def last(updates: Iterator[Update]) -> Update:
    *_, update = updates
    return update


def tokens(update: Update, row: int | str = 0) -> list[int]:
    """The new tokens of a row, of a text in words."""
    return [int(word) for word in update.texts[row].split()]


def at_pass(model: PreTrainedModel, number: int, act: Callable[[], object]) -> None:
    """Does something when the model's pass of that number begins."""
    count = itertools.count(1)

    def hook(*_: object) -> None:
        if next(count) == number:
            act()

    model.register_forward_pre_hook(hook)


def hooks_on(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lape-generate"]


# Which tokens


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_is_what_the_model_alone_generates(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, penalty: float
) -> None:
    inputs = words(prompt(), return_tensors="pt")
    alone = tiny_model.generate(**inputs, max_new_tokens=12, do_sample=False, repetition_penalty=penalty)
    for settings in ({}, {"seed": 7, "top_p": 0.1}):
        settings |= {"max_new_tokens": 12, "repetition_penalty": penalty}
        assert tokens(last(generate_rows(tiny_model, words, [prompt()], **settings))) == alone[0, 6:].tolist()


def test_the_penalty_avoids_repetition(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    def repeated(penalty: float) -> int:
        update = last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=12, repetition_penalty=penalty))
        return 12 - len(set(tokens(update)))

    assert repeated(1.3) < repeated(1.0)


def test_each_variant_can_have_a_prompt_of_its_own(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention, passes: list[int]
) -> None:
    prompts = {"long": prompt(9, seed=1), "on": prompt(), "unused": "1"}
    found = last(side_by_side(tiny_model, words, prompts, {"on": None, "long": steer}, max_new_tokens=6))
    assert len(passes) == 6  # one batch
    for name, plan in (("on", None), ("long", steer)):
        alone = last(generate_rows(tiny_model, words, [prompts[name]], [plan], max_new_tokens=6))
        assert found.texts[name] == alone.texts[0]
    with pytest.raises(LapeError, match="There is no prompt for off"):
        side_by_side(tiny_model, words, {"on": prompt()}, {"on": None, "off": steer})


@pytest.mark.parametrize("settings", [{}, SAMPLED])
def test_the_untouched_row_does_not_notice_the_others(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention, settings: dict
) -> None:
    logits: list[torch.Tensor] = []
    tiny_model.register_forward_hook(lambda _model, _inputs, output: logits.append(output.logits[0, -1].clone()))
    off = Intervention(steer.mask, off=["aa", "cc"])
    rows = [prompt()] * 3
    plain = last(generate_rows(tiny_model, words, rows, max_new_tokens=12, **settings))
    hooked = last(generate_rows(tiny_model, words, rows, [None, off, steer], max_new_tokens=12, **settings))
    assert torch.equal(torch.stack(logits[:12]), torch.stack(logits[12:]))
    assert plain.texts[0] == plain.texts[1] == plain.texts[2] == hooked.texts[0]
    assert len({*hooked.texts.values()}) == 3


def test_one_intervention_serves_every_row(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention
) -> None:
    both = last(generate_rows(tiny_model, words, [prompt()] * 2, steer, max_new_tokens=8))
    each = last(generate_rows(tiny_model, words, [prompt()] * 2, [steer, None], max_new_tokens=8))
    assert both.texts[0] == both.texts[1] == each.texts[0] != each.texts[1]


@pytest.mark.parametrize("settings", [{}, SAMPLED, {"repetition_penalty": 1.3}])
def test_prompts_of_different_lengths_are_as_each_alone(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, settings: dict
) -> None:
    prompts = [prompt(length, seed=length) for length in (1, 9, 4)]
    together = last(generate_rows(tiny_model, words, prompts, max_new_tokens=10, **settings))
    alone = [last(generate_rows(tiny_model, words, [text], max_new_tokens=10, **settings)) for text in prompts]
    assert list(together.texts.values()) == [update.texts[0] for update in alone]


def test_the_penalty_does_not_count_padding(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    def found(tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> str:
        tiny_model.generation_config.eos_token_id = None
        settings = {"max_new_tokens": 6, "repetition_penalty": 5.0}
        return last(generate_rows(tiny_model, tokenizer, prompts, **settings)).texts[0]

    alone = found(words, [prompt()])
    padded = copy.deepcopy(words)
    padded.pad_token = alone.split()[0]  # were it counted, it would not come first
    assert found(padded, [prompt(), prompt(9, seed=1)]) == alone


def test_every_pass_after_the_first_reads_one_position(words: PreTrainedTokenizerFast) -> None:
    model = build("mpt")  # its configuration has the key-value cache off
    assert not model.config.use_cache
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda _model, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    list(generate_rows(model, words, [prompt()], max_new_tokens=4))
    assert read == [6, 1, 1, 1]


def test_the_seed_decides(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    def texts(**settings: Any) -> dict[int, str]:
        return last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=10, **settings)).texts

    assert texts(seed=1, **SAMPLED) == texts(seed=1, **SAMPLED)
    assert len({texts(seed=seed, **SAMPLED)[0] for seed in range(4)}) == 4
    assert texts(seed=2**63 - 1, temperature=1e-4) == texts()


# The stream


def test_every_update_continues_the_one_before(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    updates = list(generate_rows(tiny_model, tokenizer, ["Bonjour", "你好，世界"], max_new_tokens=20, **SAMPLED))
    assert all(set(update.texts) == set(update.new_tokens) == set(update.finished) == {0, 1} for update in updates)
    for before, after in itertools.pairwise(updates):
        assert after.elapsed_seconds > before.elapsed_seconds > 0
        for row in (0, 1):
            assert after.texts[row].startswith(before.texts[row])
            assert after.new_tokens[row] >= before.new_tokens[row]
            assert before.finished[row] in (None, after.finished[row])
    assert updates[-1].new_tokens == {0: 20, 1: 20}
    assert updates[-1].finished == {0: "length", 1: "length"}


def test_what_arrives_while_the_reader_is_busy_comes_together(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast
) -> None:
    rows = generate_rows(tiny_model, words, [prompt()], max_new_tokens=15)
    next(rows)
    for thread in running():
        thread.join()
    (update,) = rows
    assert update.new_tokens == {0: 15}
    assert update.finished == {0: "length"}
    assert len(tokens(update)) == 15


def test_variants_are_named_rows(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention
) -> None:
    updates = list(side_by_side(tiny_model, words, prompt(), {"on": None, "steered": steer}, max_new_tokens=6))
    rows = last(generate_rows(tiny_model, words, [prompt()] * 2, [None, steer], max_new_tokens=6))
    for update in updates:
        assert list(update.texts) == list(update.new_tokens) == list(update.finished) == ["on", "steered"]
    assert list(updates[-1].texts.values()) == list(rows.texts.values())
    with pytest.raises(LapeError, match="no variant"):
        side_by_side(tiny_model, words, prompt(), {})


# How it ends


def test_a_row_ends_at_eos_while_the_others_go_on(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    prompts = [prompt(seed=1), prompt(seed=2)]
    plain = last(generate_rows(tiny_model, words, prompts, max_new_tokens=10))
    first, second = tokens(plain, 0), tokens(plain, 1)
    end = next(token for token in first[2:] if token not in second)
    tiny_model.generation_config.eos_token_id = [EOS, end]
    updates = list(generate_rows(tiny_model, words, prompts, max_new_tokens=10))
    assert tokens(updates[-1], 0) == first[: first.index(end) + 1]
    assert tokens(updates[-1], 1) == second
    assert updates[-1].new_tokens == {0: first.index(end) + 1, 1: 10}
    assert updates[-1].finished == {0: "eos", 1: "length"}
    assert all(update.finished[0] == "eos" for update in updates if update.new_tokens[1] > first.index(end))


def test_eos_of_every_row_ends_it(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, passes: list[int]
) -> None:
    first = tokens(last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=3)))
    passes.clear()
    tiny_model.generation_config.eos_token_id = first[2]
    update = last(generate_rows(tiny_model, words, [prompt()] * 2, max_new_tokens=50))
    ends = first.index(first[2]) + 1
    assert update.finished == {0: "eos", 1: "eos"}
    assert update.new_tokens == {0: ends, 1: ends}
    assert len(passes) == ends


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("place", ["tokenizer", "model", "both"])
def test_a_row_ends_at_the_eos_of_the_tokenizer_and_of_the_model(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, place: str, listed: bool
) -> None:
    tiny_model.generation_config.eos_token_id = None
    plain = tokens(last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=12)))
    first, second = sorted((plain.index(token), token) for token in set(plain) if plain.index(token) > 1)[:2]
    by_tokenizer, by_model = {
        "tokenizer": (first, second),  # the tokenizer's comes first
        "model": (second, first),
        "both": (first, first),
    }[place]
    ending = copy.deepcopy(words)
    ending.eos_token = str(by_tokenizer[1])
    tiny_model.generation_config.eos_token_id = [EOS, by_model[1]] if listed else by_model[1]
    update = last(generate_rows(tiny_model, ending, [prompt()], max_new_tokens=12))
    assert (update.finished, update.new_tokens) == ({0: "eos"}, {0: first[0] + 1})


def test_without_any_eos_it_ends_at_the_length(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    no_end = copy.deepcopy(words)
    no_end.eos_token = None
    tiny_model.generation_config.eos_token_id = None
    assert last(generate_rows(tiny_model, no_end, [prompt()], max_new_tokens=3)).finished == {0: "length"}


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 5)])
def test_spare_rows_speed_up_a_cpu_and_change_nothing(
    tiny_model: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    passes: list[int],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    batch: int,
) -> None:
    prompts = [prompt(3 + row, row) for row in range(rows)]
    plan = [None if row == 0 else Intervention(random_mask((3, 48)), off="aa") for row in range(rows)]
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: True)
    spared = last(generate_rows(tiny_model, words, prompts, plan, max_new_tokens=4))
    assert passes == [batch] * 4
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: False)
    exact = last(generate_rows(tiny_model, words, prompts, plan, max_new_tokens=4))
    assert passes[4:] == [rows] * 4
    assert (spared.texts, spared.new_tokens, spared.finished) == (exact.texts, exact.new_tokens, exact.finished)
    assert len(spared.texts) == rows


def test_a_batch_ends_with_its_last_row_and_not_with_a_spare_one(
    tiny_model: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    steer: Intervention,
    passes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: True)
    prompts, penalty = [prompt()] * 3, {"repetition_penalty": 1.1}
    steered = tokens(last(generate_rows(tiny_model, words, prompts, [steer] * 3, max_new_tokens=3, **penalty)))
    untouched = tokens(last(generate_rows(tiny_model, words, prompts, max_new_tokens=12, **penalty)))
    assert steered[2] not in untouched  # so that a spare row, which is untouched, would go on
    passes.clear()
    tiny_model.generation_config.eos_token_id = steered[2]
    update = last(generate_rows(tiny_model, words, prompts, [steer] * 3, max_new_tokens=12, **penalty))
    assert set(update.finished.values()) == {"eos"}
    assert len(passes) == steered.index(steered[2]) + 1


def test_a_stop_takes_effect_within_a_token(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, passes: list[int]
) -> None:
    stop = threading.Event()
    at_pass(tiny_model, 4, lambda: stop.wait(timeout=60))  # the reader stops it while the fourth token is made
    for update in generate_rows(tiny_model, words, [prompt()] * 2, max_new_tokens=200, stop=stop):
        if update.new_tokens[0] == 3:
            stop.set()
    assert update.finished == {0: "stopped", 1: "stopped"}
    assert update.new_tokens == {0: 4, 1: 4}
    assert len(passes) == 4
    assert not running()

    early = last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=200, stop=stop))
    assert (early.new_tokens, early.finished) == ({0: 1}, {0: "stopped"})


@pytest.mark.parametrize("named", [False, True])
def test_closing_the_iterator_stops_the_thread(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention, passes: list[int], named: bool
) -> None:
    tiny_model.register_forward_pre_hook(lambda *_: time.sleep(0.01))
    mine = hooks_on(tiny_model)
    if named:
        stop = threading.Event()
        rows = side_by_side(tiny_model, words, prompt(), {"steered": steer}, max_new_tokens=200, stop=stop)
    else:
        rows = generate_rows(tiny_model, words, [prompt()], [steer], max_new_tokens=200)
    next(rows)
    assert len(running()) == 1
    assert hooks_on(tiny_model) > mine
    rows.close()
    assert not running()
    assert hooks_on(tiny_model) == mine
    assert len(passes) < 100


def test_an_iterator_that_is_not_read_does_nothing(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention, passes: list[int]
) -> None:
    rows = side_by_side(tiny_model, words, prompt(), {"steered": steer})
    assert not running()
    rows.close()
    assert passes == []


def test_a_failure_in_the_model_reaches_the_reader(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, steer: Intervention
) -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    at_pass(tiny_model, 3, fail)
    mine = hooks_on(tiny_model)
    rows = generate_rows(tiny_model, words, [prompt()], [steer], max_new_tokens=10)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(rows)
    assert not running()
    assert hooks_on(tiny_model) == mine
    assert last(generate_rows(tiny_model, words, [prompt()], [steer], max_new_tokens=3)).finished == {0: "length"}


@pytest.mark.parametrize("ending", ["length", "stop", "close", "throw", "failure", "ctrl_c", "refused"])
def test_the_models_own_generation_settings_are_put_back(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, ending: str
) -> None:
    theirs, used, stop = tiny_model.generation_config, [], threading.Event()
    before = theirs.to_dict()
    tiny_model.register_forward_pre_hook(lambda *_: used.append(tiny_model.generation_config))

    def fail() -> None:
        raise KeyboardInterrupt if ending == "ctrl_c" else RuntimeError

    if ending in ("failure", "ctrl_c"):
        at_pass(tiny_model, 3, fail)
    plan = Intervention(random_mask((2, 48)), off="aa") if ending == "refused" else None
    tokens_asked = 5 if ending == "length" else 200
    rows = generate_rows(tiny_model, words, [prompt()], plan, max_new_tokens=tokens_asked, stop=stop)
    assert tiny_model.generation_config is theirs  # nothing begins before it is read
    with contextlib.suppress(RuntimeError, KeyboardInterrupt, MaskMismatch):
        next(rows)
        if ending == "close":
            rows.close()
        elif ending == "throw":
            rows.throw(KeyboardInterrupt)
        elif ending == "stop":
            stop.set()
        list(rows)
    assert not running()
    assert tiny_model.generation_config is theirs
    assert theirs.to_dict() == before
    assert all(config is not theirs for config in used)
    assert bool(used) is (ending != "refused")


def test_a_mask_of_another_model_reaches_the_reader(
    tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast, passes: list[int]
) -> None:
    other = Intervention(random_mask((2, 48)), off="aa")
    with pytest.raises(MaskMismatch, match=r"2 layers x 48 neurons.* 3 layers x 48 neurons"):
        list(generate_rows(tiny_model, words, [prompt()], other))
    assert passes == []


# Text


@pytest.fixture(scope="module")
def sentencepiece() -> PreTrainedTokenizerFast:
    """Like Llama 2's: words begin with a space mark, and what is not in the vocabulary is single bytes."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁chat"]
    core = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, [], byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    strip = decoders.Strip(" ", 1, 0)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="</s>")


def streamed(tokenizer: PreTrainedTokenizerFast, before: str, ids: list[int]) -> list[str]:
    """The texts of a row as its tokens come one by one."""
    row = Row(tokenizer, tokenizer(before)["input_ids"][-8:], [])
    texts = []
    for token in ids:
        row.add(token)
        texts.append(row.text())
    assert row.new_tokens == len(ids)
    return texts


def test_a_character_comes_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "é中👩‍🚀 ok"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode())
    texts = streamed(tokenizer, "aé", ids)
    # Every byte completes a character or adds nothing.
    assert texts == [text.encode()[: byte + 1].decode(errors="ignore") for byte in range(len(ids))]


def test_a_character_that_never_comes_whole_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    assert streamed(tokenizer, "a", tokenizer("é中")["input_ids"][:-1])[-1] == "é"


def test_the_context_may_begin_within_a_character(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len("中文字".encode()) > 8
    assert streamed(tokenizer, "中文字", tokenizer("é")["input_ids"]) == ["", "é"]


def test_the_space_before_the_first_word_is_kept(sentencepiece: PreTrainedTokenizerFast) -> None:
    chat = sentencepiece.convert_tokens_to_ids("▁chat")
    assert sentencepiece.decode([chat]) == "chat"
    assert streamed(sentencepiece, "ab", [chat, chat]) == [" chat", " chat chat"]


def always(model: PreTrainedModel, token: int) -> PreTrainedModel:
    """Makes a model say one token, whatever comes before."""

    def only(hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*hidden.shape[:-1], model.config.vocab_size)
        logits[..., token] = 1
        return logits

    model.lm_head.forward = only
    return model


def test_new_words_are_decoded_after_the_prompts(sentencepiece: PreTrainedTokenizerFast) -> None:
    chat = sentencepiece.convert_tokens_to_ids("▁chat")
    model = always(build("llama", vocab_size=len(sentencepiece)), chat)
    assert last(generate_rows(model, sentencepiece, ["ab"], max_new_tokens=2)).texts == {0: " chat chat"}


def test_special_tokens_are_not_text(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    update = last(generate_rows(always(tiny_model, EOS), words, [prompt()], max_new_tokens=3))
    assert (update.texts, update.finished) == ({0: ""}, {0: "eos"})


def test_a_space_before_a_comma_stays() -> None:
    core = Tokenizer(models.WordLevel({"a": 0, ",": 1}, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert streamed(PreTrainedTokenizerFast(tokenizer_object=core), "a", [1, 0])[-1] == " , a"


def test_a_character_of_single_bytes_comes_whole(sentencepiece: PreTrainedTokenizerFast) -> None:
    text = "é中👩‍🚀"
    ids = sentencepiece.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in text.encode()])
    assert streamed(sentencepiece, "ab", ids) == [
        text.encode()[: byte + 1].decode(errors="ignore") for byte in range(len(ids))
    ]


def test_a_byte_that_is_no_character_leaves_the_characters_beside_it(sentencepiece: PreTrainedTokenizerFast) -> None:
    def of(data: bytes) -> list[int]:
        return sentencepiece.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in data])

    chat = sentencepiece.convert_tokens_to_ids("▁chat")
    ids = [*of("अ".encode() + "अ".encode()[:2]), chat]
    assert sentencepiece.decode(ids) == "\ufffd" * 5 + " chat"  # what the decoder makes of it
    assert streamed(sentencepiece, "ab", ids) == ["", "", "अ", "अ", "अ", "अ\ufffd chat"]
    assert streamed(sentencepiece, "अ", of("中".encode() + b"\xff" + "文".encode()))[-1] == "中\ufffd文"


# Prompts and settings


TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}{% if enable_thinking %}[think]{% endif %}"
)
MESSAGES = [{"role": "system", "content": "Sois bref."}, {"role": "user", "content": "Ça va ?"}]


def test_messages_go_through_the_template(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = TEMPLATE
    expected = "[system]Sois bref.[user]Ça va ?[assistant]"
    assert chat.decode(encode(tiny_model, chat, [MESSAGES])["input_ids"][0]) == expected
    by_messages = last(side_by_side(tiny_model, chat, MESSAGES, {"on": None}, max_new_tokens=4))
    assert by_messages.texts == last(side_by_side(tiny_model, chat, expected, {"on": None}, max_new_tokens=4)).texts


def test_the_template_alone_says_how_a_chat_begins(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    chat = copy.deepcopy(tokenizer)
    chat.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", DOCUMENT_END)]
    )
    chat.chat_template = "<|endoftext|>" + TEMPLATE
    assert encode(tiny_model, chat, ["a"])["input_ids"][0].tolist()[:-1] == [DOCUMENT_END]
    ids = encode(tiny_model, chat, [MESSAGES])["input_ids"][0].tolist()
    assert (ids[0], ids.count(DOCUMENT_END)) == (DOCUMENT_END, 1)


def test_messages_need_a_template(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(LapeError, match="no chat template"):
        side_by_side(tiny_model, tokenizer, MESSAGES, {"on": None})


def test_prompts_are_padded_on_the_left(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    right = copy.deepcopy(tokenizer)
    right.padding_side = "right"
    inputs = encode(tiny_model, right, ["ab", "abcd"])
    a, b, c, d = tokenizer("abcd")["input_ids"]
    assert inputs["input_ids"].tolist() == [[EOS, EOS, a, b], [a, b, c, d]]
    assert inputs["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("messages", "template"),
    [
        ([], TEMPLATE),
        (MESSAGES, "{{ raise_exception('System role not supported') }}"),  # as of Gemma
        (MESSAGES, {"tool_use": TEMPLATE}),  # none for a plain chat
    ],
)
def test_messages_the_template_refuses(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, messages: list, template: str | dict[str, str]
) -> None:
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = template
    with pytest.raises(
        LapeError, match=r"empty|System role not supported|refuses these messages: This model has multiple"
    ):
        side_by_side(tiny_model, chat, messages, {"on": None})


def test_a_tokenizer_needs_no_padding_of_its_own(tiny_model: PreTrainedModel, words: PreTrainedTokenizerFast) -> None:
    prompts = [prompt(3, seed=1), prompt(5, seed=2)]
    plain = last(generate_rows(tiny_model, words, prompts, max_new_tokens=5))
    unpadded = copy.deepcopy(words)
    unpadded.pad_token = None
    assert last(generate_rows(tiny_model, unpadded, prompts, max_new_tokens=5)).texts == plain.texts


@pytest.mark.parametrize(
    ("prompts", "settings", "match"),
    [
        (["a"], {"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1, not 0"),
        (["a"], {"max_new_tokens": float("nan")}, "max_new_tokens must be"),
        (["a"], {"temperature": float("nan")}, "temperature must be 0"),
        (["a"], {"temperature": float("inf")}, "temperature must be 0"),
        (["a"], {"temperature": -1.0}, "temperature must be 0"),
        (["a"], {"top_p": 0.0}, "top_p must be above 0"),
        (["a"], {"top_p": 1.1}, "top_p must be above 0"),
        (["a"], {"top_p": float("nan")}, "top_p must be above 0"),
        (["a"], {"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        (["a"], {"repetition_penalty": float("inf")}, "repetition_penalty must be above 0"),
        (["a"], {"seed": -1}, "seed must be from 0"),
        (["a"], {"seed": 2**63}, "seed must be from 0"),
        ([], {}, "no prompt"),
        ("one text", {}, "list"),
        ([""], {}, "prompt is empty"),
        (["a", ""], {}, "prompt is empty"),
        (["a"], {"plan": [None, None]}, "plan has 2 rows but there are 1 prompts"),
        (["a"], {"plan": []}, "plan has 0 rows"),
        (["a" * 250], {"max_new_tokens": 7}, "250 prompt tokens and 7 new ones exceed the model's context of 256"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_work(
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    passes: list[int],
    prompts: list[str],
    settings: dict,
    match: str,
) -> None:
    with pytest.raises(LapeError, match=match):
        generate_rows(tiny_model, tokenizer, prompts, **settings)
    assert passes == []


def test_the_whole_context_may_be_used(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    assert last(generate_rows(tiny_model, tokenizer, ["a" * 250], max_new_tokens=6)).new_tokens == {0: 6}


# What the model's own settings ask for has no say.


@pytest.mark.parametrize(
    "theirs",
    [
        {"do_sample": True, "temperature": 0.6, "top_p": 0.5, "top_k": 3, "repetition_penalty": 1.9},
        {"num_beams": 3, "no_repeat_ngram_size": 1},
        {"min_new_tokens": 50},
        {"use_cache": False},
        {"max_length": 4096},  # as of Llama 2
        {"suppress_tokens": list(range(2, 250))},
        {"exponential_decay_length_penalty": (1, 9.0)},
    ],
    ids=lambda theirs: next(iter(theirs)),
)
def test_the_models_own_generation_settings_have_no_say(
    tiny_model: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    theirs: dict,
) -> None:
    plain = last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=8))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    transformers.utils.logging.warning_once.cache_clear()
    tiny_model.generation_config = GenerationConfig(eos_token_id=EOS, pad_token_id=5, **theirs)
    caplog.clear()
    update = last(generate_rows(tiny_model, words, [prompt()], max_new_tokens=8))
    assert (update.texts, update.finished) == (plain.texts, plain.finished)
    assert [record.message for record in caplog.records] == []
    assert list(recwarn) == []


# The real model


@pytest.mark.slow
def test_the_untouched_row_is_the_model_alone(
    embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = embedded
    logits: list[torch.Tensor] = []
    handle = model.register_forward_hook(lambda _model, _inputs, output: logits.append(output.logits[0, -1].clone()))
    steered = Intervention(random_mask((30, 1536)), off="aa", on="bb")
    text = "La capitale de la France est"
    try:
        settings = {"max_new_tokens": 16, "repetition_penalty": 1.0}
        together = last(generate_rows(model, tokenizer, [text] * 3, [None, steered, steered], **settings))
        inputs = tokenizer(text, return_tensors="pt")
        alone = model.generate(**inputs, max_new_tokens=16, do_sample=False, repetition_penalty=1.0)
    finally:
        handle.remove()
    assert torch.stack(logits[:16]).sub(torch.stack(logits[16:])).abs().max() < 1e-3
    assert together.texts[0] == tokenizer.decode(alone[0, inputs["input_ids"].shape[1] :])
    assert together.texts[1] == together.texts[2] != together.texts[0]


@pytest.mark.slow
def test_one_column_is_greedy_of_the_model_alone_with_a_penalty(
    embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = embedded
    text = "Once upon a time"
    inputs = tokenizer(text, return_tensors="pt")
    alone = model.generate(**inputs, max_new_tokens=12, do_sample=False, repetition_penalty=1.2)
    update = last(side_by_side(model, tokenizer, text, {"on": None}, max_new_tokens=12, repetition_penalty=1.2))
    assert update.texts["on"] == tokenizer.decode(alone[0, inputs["input_ids"].shape[1] :])


def test_half_a_character_is_refused(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = "{{ messages[0]['content'] }}"
    for prompt in ("a\udc80", [{"role": "user", "content": "a\udc80"}]):
        with pytest.raises(LapeError, match="The prompt holds half a character"):
            encode(tiny_model, chat, [prompt])
