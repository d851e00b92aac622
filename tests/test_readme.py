"""The README does what it says: its client example runs, its commands and options exist, its pictures are there."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from lape.cli import _parser
from lape.models.embedded import embedded_gguf

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"
CLIENTS = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "gradio_client" in code]
LINES = re.findall(r"^    (?:\$ )?(lape [a-z].*)$", README.replace("\\\n", " "), re.MULTILINE)
INLINE = re.findall(r"`(lape [a-z][^`]*)`", README)


@pytest.mark.slow
@pytest.mark.skipif(embedded_gguf() is None, reason="the embedded model is not installed: make app installs it")
def test_the_client_example_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(CLIENTS) == 1
    assert ADDRESS in CLIENTS[0]
    found: dict[str, Any] = {}
    exec(CLIENTS[0].replace(ADDRESS, url), found)
    assert set(found["columns"]) == {"on", "off", "steered:es", "steered:zh"}
    assert all(column["new_tokens"] == 24 for column in found["columns"].values())
    updates = capsys.readouterr().out.splitlines()
    updates = [line for line in updates if line.startswith("{")]
    assert len(updates) > 2, "it did not stream"
    assert updates[-1] == str({name: column["text"] for name, column in found["columns"].items()})


@pytest.mark.parametrize("line", LINES)
def test_command_lines_are_understood(line: str) -> None:
    assert callable(_parser().parse_args(shlex.split(line, comments=True)[1:]).run)


def test_command_lines_are_found() -> None:
    assert len(LINES) > 10
    assert len(INLINE) > 2


@pytest.mark.parametrize("words", INLINE)
def test_options_that_are_mentioned_exist(words: str) -> None:
    _, name, *rest = words.split()
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    options = {word for word in rest if word.startswith("-")}
    assert options <= set(commands.choices[name]._option_string_actions)


def test_pictures_are_there_and_described() -> None:
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", README)
    assert len(pictures) > 1
    for described, file in pictures:
        assert len(described) > 20
        assert (ROOT / file).read_bytes().startswith(b"\x89PNG")
