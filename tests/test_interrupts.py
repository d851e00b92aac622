"""Ctrl-C ends a command with one line, also while it is starting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import lape
from lape.cli import main
from lape.interrupts import interrupts

ROOT = Path(__file__).parents[1]
# Presses Ctrl-C as soon as a module is looked for, in the middle of what imports it.
PRESSING = """
import os, runpy, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background may be told to ignore it
class Pressing:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Pressing())
sys.argv = {words!r}
runpy.{run}({what!r}, run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    """As at a terminal; a shell lets what runs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("run", "what", "words", "module"),
    [
        ("run_path", "app.py", ["app.py"], "torch"),
        ("run_module", "lape", ["lape", "generate", "Bonjour"], "transformers.modeling_utils"),
    ],
)
def test_ctrl_c_while_starting_is_one_line(run: str, what: str, words: Sequence[str], module: str) -> None:
    code = PRESSING.format(run=run, what=what, words=[*words], module=module)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_SERVER_PORT": "1"},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "lape: stopped.\n")


def test_an_error_that_ctrl_c_caused_is_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(10)
        except KeyboardInterrupt as error:
            raise ImportError("cannot import name 'torch'") from error

    monkeypatch.setattr("lape.cli.machine._doctor", lambda options: look())
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "lape: stopped.\n"


def test_who_handles_ctrl_c_goes_on_doing_so() -> None:
    mine = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts() as came:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert not came.is_set()
    finally:
        signal.signal(signal.SIGINT, mine)
    with interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_public_name_is_there() -> None:
    assert set(lape.__all__) == set(lape._HOMES)
    assert all(callable(getattr(lape, name)) for name in lape.__all__ if name != "__version__")
    assert lape.storage.files.__name__ == "lape.storage.files"
    with pytest.raises(AttributeError, match="module 'lape' has no attribute 'nonsense'"):
        lape.nonsense  # noqa: B018
    assert {"identify", "record"} <= set(dir(lape))


def test_the_room_does_not_take_the_place_of_the_function() -> None:
    code = "import lape.identify; from lape import identify; print(identify.__name__, lape.identify is identify)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "identify True\n", said.stderr
