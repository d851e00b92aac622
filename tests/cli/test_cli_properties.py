"""Any words after `lape` end with 0 or with one line and 2: never with a traceback, never with 1."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

import pytest
from command_lines import COMMANDS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from samples import mask_of, statistics_of

from lape import LapeError
from lape.cli import main

# Mostly wrong, in ways that a shell lets through and a few that it does not. Without "/", nothing is written elsewhere.
ODD = [
    *("", " ", "-", "--", "-1", "0", "1", "2", "7.5", "nan", "inf", "-inf", "1e308", "1e-320", "9" * 30, "9" * 5000),
    *(
        "a\x00b",
        "a\nb",
        "a\rb",
        "\u202eabc",
        "\udc80",
        "é" * 5000,
        "x" * 5000,
        "[1]",
        "{}",
        "None",
        "a=b",
        "top_rate=nan",
    ),
    *(
        "..",
        "nowhere",
        "file",
        "fr",
        "fr,fr",
        ",",
        "fr,,es",
        "fr," * 2000,
        "hf:",
        "hf:a:b",
        "hf:\x00",
        "1x1",
        "0x0",
        "9" * 30 + "x1",
    ),
]
GOOD = ["made", "made/mask.safetensors", "texts", "fr,es", "fr", "es", "lape", "3", "0.5", "new", "new.txt"]
words = st.sampled_from(ODD) | st.sampled_from(GOOD) | st.text(st.characters(exclude_characters="/"), max_size=20)


@st.composite
def lines(draw: Any) -> list[str]:
    """A command, each of its arguments or not, some of its options."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    actions = [action for action in COMMANDS[name]._actions if not isinstance(action, argparse._HelpAction)]
    line = [name]
    for action in actions:
        wanted = action.required or not action.option_strings
        if not (draw(st.integers(0, 9)) if wanted else draw(st.integers(0, 4)) == 0):
            continue
        values = [] if action.nargs == 0 else [draw(words)]
        if action.option_strings:
            option = draw(st.sampled_from(action.option_strings))
            line += [f"{option}={values[0]}"] if values and draw(st.booleans()) else [option, *values]
        else:
            line += values
    return line


@pytest.fixture(scope="module")
def _no_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A working directory with a mask, statistics and texts; no model is loaded, no page served, no cache cleared."""
    folder = tmp_path_factory.mktemp("working") / "deep" / "directory"
    counts = [[index * 7 % 11 for index in range(40)] for _ in range(2)]
    statistics_of({"fr": counts, "es": counts[::-1], "en": [row[::-1] for row in counts]}).save(
        folder / "made" / "statistics.safetensors"
    )
    mask_of({"fr": [(0, 1)], "es": [(1, 2)], "en": []}, {"fr": [0.5]}, (2, 40), model="org/tiny").save(folder / "made")
    (folder / "texts").mkdir()
    for code in ("fr", "es"):
        (folder / "texts" / f"{code}.txt").write_text(f"{code} text\n\nanother\n")
    (folder / "file").write_bytes(b"\xff\xfe\x00")

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise LapeError("No model here.")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LAPE_PRECOMPUTED", str(folder / "nothing"))  # our masks take seconds to read
        patch.setattr("lape.models.loading.load_model", refuse)
        patch.setattr("lape.models.embedded.clear_cache", lambda: 0)
        patch.setattr("lape.cli.demo._demo", refuse)
        yield


def run(line: list[str]) -> tuple[int, str, str]:
    """The exit code, and what was written; as a terminal, standard output takes whole characters only."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(line)
        except SystemExit as end:  # --help, --version
            code = end.code
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.buffer.getvalue().decode())
    return code, *texts


@pytest.mark.usefixtures("_no_model")
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(lines())
@example(["calibrate", "made", "a\nb"])
def test_any_words_end_with_zero_or_with_one_line_and_two(line: list[str]) -> None:
    code, out, err = run(line)
    assert code in (0, 2), err
    assert all(said.startswith("lape: ") for said in err.splitlines()), err
    if code == 2:
        said = [one for one in err.splitlines() if not one.startswith("lape: note: ")]
        assert len(said) == 1
        assert not out
