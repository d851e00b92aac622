"""The texts say what is true: links lead somewhere, commands, options and files exist, examples compile or run."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from check_structure import ROOMS, ROOT
from command_lines import COMMANDS
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lape.cli import _parser
from lape.models.embedded import GEMMA, SMOLLM2

README_LINES = 180  # a stranger reads no more
ADDRESS = "http://127.0.0.1:7860"


@dataclass(frozen=True)
class Text:
    """A Markdown file and what stands in it."""

    path: Path
    tokens: tuple[Token, ...]

    @classmethod
    def read(cls, path: Path) -> Text:
        source = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        blocks = MarkdownIt("commonmark").enable("table").parse(source)
        return cls(path, tuple(token for block in blocks for token in (block, *(block.children or ()))))

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def links(self) -> list[str]:
        """Links and pictures that lead to files of the project."""
        found = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in self.tokens]
        return [link for link in found if link and not re.match(r"[a-z]+:", link)]

    def anchors(self) -> set[str]:
        """Headings as GitHub writes them in an address."""
        after = zip(self.tokens, self.tokens[1:], strict=False)
        titles = [token.content for before, token in after if before.type == "heading_open"]
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    def words(self) -> list[str]:
        """Code within sentences."""
        return [token.content for token in self.tokens if token.type == "code_inline"]

    def code(self, language: str) -> list[str]:
        """Blocks of code; those that are only indented are shell."""
        return [
            token.content
            for token in self.tokens
            if (token.type == "fence" and token.info == language) or (token.type == "code_block" and language == "sh")
        ]

    def commands(self) -> Iterator[str]:
        """Lines of shell that run `lape`."""
        for block in self.code("sh"):
            lines = block.replace("\\\n", " ").splitlines()
            yield from (line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?lape [a-z]", line))


def texts() -> list[Text]:
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
    files += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "precomputed").rglob("*.md"))]
    return [Text.read(path) for path in files]


TEXTS = {text.name: text for text in texts()}
CLIENTS = [code for text in TEXTS.values() for code in text.code("python") if "gradio_client" in code]
named = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


def exists(module: str) -> bool:
    """Whether a dotted name can be imported, or is an attribute of what can."""
    try:
        importlib.import_module(module)
    except ImportError:
        parent, _, attribute = module.rpartition(".")
        return bool(parent) and exists(parent) and hasattr(importlib.import_module(parent), attribute)
    return True


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("name", ["README.md", "docs/models.md"])
def test_the_terms_of_gemma_are_said(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert GEMMA.notice_markdown in " ".join(text.split())


def test_what_is_checked_is_found() -> None:
    assert sum(len(text.links()) for text in TEXTS.values()) > 40
    assert sum(len(list(text.commands())) for text in TEXTS.values()) > 30
    assert sum(len(text.code("python")) for text in TEXTS.values()) > 3


@named
def test_links_lead_somewhere(text: Text) -> None:
    for link in text.links():
        file, _, anchor = link.partition("#")
        target = (text.path.parent / file).resolve() if file else text.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Text.read(target).anchors(), link


@named
def test_pictures_are_pictures_and_described(text: Text) -> None:
    for picture in (token for token in text.tokens if token.type == "image"):
        data = (text.path.parent / str(picture.attrs["src"])).read_bytes()
        assert data.startswith((b"\x89PNG", b"<svg"))
        assert len(picture.content) > 20


@named
def test_command_lines_are_understood(text: Text) -> None:
    for line in text.commands():
        assert callable(_parser().parse_args(shlex.split(line, comments=True)[1:]).run), line


@named
def test_commands_and_options_within_sentences_exist(text: Text) -> None:
    anywhere = {option for command in COMMANDS.values() for option in command._option_string_actions}
    for words in text.words():
        if command := re.match(r"lape ([a-z]+)", words):
            assert command[1] in COMMANDS, words
            options = {word for word in words.split() if word.startswith("-")}
            assert options <= set(COMMANDS[command[1]]._option_string_actions), words
        elif option := re.match(r"--[a-z-]+", words):
            assert option[0] in anywhere, words


@named
def test_files_and_names_exist(text: Text) -> None:
    for words in text.words():
        if re.fullmatch(r"(lape|tests|benchmarks|examples|docs)/[\w./-]*", words):
            assert (ROOT / words).exists(), words
        elif (
            name := re.match(r"(?:python -m )?((?:lape|benchmarks)(?:\.\w+)+)", words)
        ) and text.name != "CHANGELOG.md":
            assert exists(name[1]), words


def test_modules_that_moved_are_where_the_changelog_says() -> None:
    rows = re.findall(r"^\| .*? \| (.*?) \|$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    moved = [name for row in rows for name in re.findall(r"`(lape[\w.]*)`", row)]
    assert len(moved) > 10
    assert all(map(exists, moved))


@named
def test_python_compiles(text: Text) -> None:
    for code in text.code("python"):
        compile(code, text.name, "exec")


def test_the_rooms_are_listed_in_their_order() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = architecture.partition("## One prompt")[0]
    listed = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert listed == ROOMS.split()


def test_the_walks_name_functions_that_exist() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| .* \| `(lape/[\w/]+\.py)` \| (.*) \|$", architecture, re.MULTILINE)
    assert len(steps) > 20
    for file, functions in steps:
        source = (ROOT / file).read_text(encoding="utf-8")
        for function in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^ *(def|class) {function}\b", source, re.MULTILINE), (file, function)


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.files(), reason="SmolLM2 is not installed: make app installs it")
def test_the_client_example_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(CLIENTS) == 1
    assert ADDRESS in CLIENTS[0]
    found: dict[str, Any] = {}
    exec(CLIENTS[0].replace(ADDRESS, url), found)
    *before, last = found["updates"]
    assert list(last) == ["on", "off", "steered:es", "steered:zh"]
    assert all(column["new_tokens"] == 24 for column in last.values())
    assert len(before) > 2, "it did not stream"
    said = [line for line in capsys.readouterr().out.splitlines() if ", told as " in line]
    assert [line.partition(",")[0] for line in said] == list(last)
