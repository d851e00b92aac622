"""Text in Latin letters and text with its words shuffled: against slow rules, in pieces, and through `lape record`."""

from __future__ import annotations

import random
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lape import ActivationStatistics, LapeError, UnknownLabel
from lape.cli import main
from lape.recording.altered import ALTERATIONS, altered, shuffled
from lape.recording.pieces import LONGEST_PIECE
from lape.recording.sources import describe, open_pieces, open_source

LINES = {
    "en": "It's true, the well-known muppets (all of them) are back.",
    "vi": "Các Đại biểu Quốc hội  lo lắng.",
    "ko": "웨일스 상원 의원들은 걱정했다",
    "hi": "वेल्श के AM (विधानसभा सदस्य) चिंतित हैं",
    "th": "กำลังกังวล 'ที่' ถูก",
    "my": "မြန်မာ နိုင်ငံ",
    "km": "ភាសាខ្មែរ",
    "ja": "ウェールズ議会の「呼称」をAM (Assembly Member) から変え",
    "zh": "人们的AM(议员)担心,AM 来。",
}
SPACELESS = ["THAI", "LAO", "TIBETAN", "MYANMAR", "KHMER", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"]


def words_of(line: str) -> list[str]:
    """The words of a line, told one character after another by the names that Unicode gives them."""
    words: list[str] = []
    before = " "
    for character in line:
        single = unicodedata.name(character).split()[0] in SPACELESS and unicodedata.category(character)[0] in "LMN"
        joins = before == "a" and not single and not character.isspace()
        if before == "1" and unicodedata.category(character)[0] == "M":
            words[-1] += character
        elif character.isspace():
            before = " "
        else:
            words[-1:] = [words[-1] + character] if joins else [*words[-1:], character]
            before = "1" if single else "a"
    return words


@pytest.mark.parametrize("code", LINES)
def test_shuffled_text_has_the_same_words_between_the_same_spaces(code: str) -> None:
    line = LINES[code]
    text = f"{line}\n\n  {line[::-1]}\r\n{line}"
    found = shuffled(text).splitlines(keepends=True)
    assert found[0] != line + "\n"
    assert found[0][:-1] == found[3] == shuffled(line)  # whatever stands around it
    assert found[1:3:2] == ["\n"]
    assert found[2].startswith("  ")
    assert found[2].endswith("\r\n")
    words = words_of(line)
    random.Random(line).shuffle(words)
    slots = re.sub(r"[^ ]+", lambda run: "_" * len(words_of(run[0])), line)
    assert found[3] == "".join(words.pop() if slot == "_" else " " for slot in slots)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("«Члены» für 国民议会, AM", "«Chleny» für guo min yi hui, AM"),
        ("Đại biểu – łódź ǅ n\u0303 1½ ‘x’ ☃ 🙂", "Đại biểu – łódź ǅ n\u0303 1½ ‘x’ ☃ 🙂"),
        ("상원 ΑΔΠ ある。", "sangwon ADP aru."),
        ("सदस्य\u200d १२", "sdsy 12"),
    ],
)
def test_romanised_by_hand(text: str, said: str) -> None:
    pytest.importorskip("anyascii")
    assert ALTERATIONS["romanised"](text) == said


def test_without_anyascii_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anyascii", None)
    with pytest.raises(LapeError, match=r"pip install 'lape\[anyascii\]'"):
        altered({"ru": ["Да"]}, "romanised")
    with pytest.raises(UnknownLabel, match="Did you mean 'shuffled'"):
        altered({"ru": ["Да"]}, "shufled")


@pytest.mark.parametrize("alter", [lambda text: 3 * text, str.upper, lambda _: ""])
def test_long_documents_stay_whole(monkeypatch: pytest.MonkeyPatch, alter: Callable[[str], str]) -> None:
    monkeypatch.setitem(ALTERATIONS, "shuffled", alter)  # type: ignore[arg-type]
    documents = ["short", "a word " * (LONGEST_PIECE // 3), "the end"]
    source = altered({"fr": documents}, "shuffled")["fr"]
    parts = [[*open_pieces([document])] for document in documents]
    assert [len(some) for some in parts] == [1, 3, 1]
    assert [*open_source(source)] == ["".join(map(alter, some)) for some in parts]
    assert max(map(len, open_pieces(source))) <= LONGEST_PIECE
    assert describe(source) == "texts, shuffled"


def test_a_recording_reads_the_altered_text_and_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    text = "one two three four five six seven eight nine ten\n" * 20
    corpora = {"original": text, "shuffled": text, "by hand": shuffled(text)}
    found = {}
    for name, written in corpora.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "en.txt").write_text(written)
        words = ["--alter", name] if name == "shuffled" else []
        settings = ["--tokens", "64", "--block", "16", *words, "--out", str(folder)]
        assert main(["record", "--model", str(tiny_folder), "--corpus", str(folder / "en.txt"), *settings]) == 0
        found[name] = ActivationStatistics.load(folder / "statistics.safetensors")
    said = {name: statistics.metadata["corpora"]["en"][0] for name, statistics in found.items()}
    assert said["shuffled"] == {**said["by hand"], "source": said["original"]["source"] + ", shuffled"}
    assert said["shuffled"]["sha256"] != said["original"]["sha256"]
    assert torch.equal(found["shuffled"].active["en"], found["by hand"].active["en"])
    assert not torch.equal(found["shuffled"].active["en"], found["original"].active["en"])
