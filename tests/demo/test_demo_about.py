"""The About tab: what it says is true, and it says nothing private."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import gradio as gr
import pytest

from lape.cli import _parser
from lape.demo.about import PYTHON, SHELL
from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.masks.share import CALIBRATION_TOKENS
from lape.demo.page import build_page
from lape.demo.uploads import UPLOAD_BYTES, UPLOADS_KEPT_SECONDS
from lape.demo.words import LANGUAGES, texts
from lape.doctor import versions
from lape.identify.lape import lape
from lape.version import __version__


def about() -> dict[str, str]:
    return {
        code: " ".join(text for key, text in texts()[code].items() if key.startswith("about.")) for code in LANGUAGES
    }


def test_every_language_says_the_same_in_formulas_and_links() -> None:
    """Formulas but for the words in them, figures and addresses do not depend on the language."""
    found = {}
    for code, text in about().items():
        formulas = [formula for formula in re.findall(r"\$(.+?)\$", text) if "text" not in formula]
        figures = sorted(re.findall(r"0\.\d+", text.replace(",", ".")))
        found[code] = (sorted(formulas), re.findall(r"\((https://.+?)\)", text), figures)
    assert len(found["en"][0]) > 15
    assert len(found["en"][1]) > 5
    assert all(found[code] == found["en"] for code in LANGUAGES)


def test_the_defaults_it_names_are_those_of_the_code() -> None:
    text = about()["en"]
    defaults = lape.__kwdefaults__
    assert f"*filter rate* quantile of all $p$ ({defaults['filter_rate']})" in text
    assert f"*bar* quantile of all $p$ ({defaults['activation_bar_ratio']})" in text
    settings = json.loads((Path(__file__).parents[2] / "precomputed/google--gemma-3-270m/lape/mask.json").read_text())
    assert f"{defaults['top_rate']} in the paper, {settings['settings']['top_rate']} in the bundled mask" in text


def test_the_limits_that_are_named_are_those_of_the_code() -> None:
    assert f"{CALIBRATION_TOKENS:,} tokens" in texts()["en"]["masks.calibrate_about"]
    assert (UPLOAD_BYTES, UPLOADS_KEPT_SECONDS) == (8_000_000, 3600)
    assert "Up to 8 MB each" in texts()["en"]["masks.upload_about"]
    assert "deleted after an hour" in texts()["en"]["masks.upload_about"]


def test_the_terms_of_gemma_are_on_the_page() -> None:
    said = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
    page = build_page(Backend())
    shown = [str(block.value) for block in page.blocks.values() if isinstance(block, gr.Markdown)]
    there = [text for text in shown if said in text]
    assert len(there) == 2  # in About, and under every tab
    for text in there:
        assert "](https://ai.google.dev/gemma/terms)" in text
        assert "](https://ai.google.dev/gemma/prohibited_use_policy)" in text


def test_the_commands_are_commands() -> None:
    for line in SHELL.splitlines():
        program, *words = shlex.split(line)
        assert program == "lape"
        assert callable(_parser().parse_args(words).run)


@pytest.mark.slow
def test_the_python_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    exec(PYTHON, {})
    printed = eval(capsys.readouterr().out)
    assert printed.keys() == {"on", "steered"}
    assert printed["on"] != printed["steered"]


def test_it_shows_versions_and_nothing_private(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"HF_TOKEN": "hf_secret", "LAPE_CACHE": str(tmp_path / "cache-of-me"), "LAPE_PRECOMPUTED": str(tmp_path)}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    page = build_page(Backend(Loaded.load(str(tiny_folder))))
    shown = {block.elem_id: block.value for block in page.blocks.values() if isinstance(block, gr.HTML)}
    assert f"<span>lape {__version__}</span>" in shown["lape-versions"]
    assert set(versions()) >= {"lape", "Python", "torch", "transformers", "gradio"}
    assert "not installed" not in shown["lape-versions"]
    assert (
        f"<span>{tiny_folder.name}</span><span>0 M parameters</span><span>float32</span><span>on cpu</span>"
        in (shown["lape-running"])
    )
    said = shown["lape-running"] + shown["lape-versions"]
    for private in ("hf_secret", "/", str(tmp_path), os.uname().nodename, os.uname().release):
        assert private not in said.replace("</", "<"), private
