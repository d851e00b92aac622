"""The commands that write, each in a folder of its own, and a process that is killed or refused in the middle of one.

`killable` makes what the commands find, `World.lay` a folder to run one in, and `forked` runs it.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded_standin import standing_in_for
from evidence_samples import perplexity
from families import build, byte_tokenizer
from hub_standin import standing_in
from samples import mask_of, statistics_of
from tqdm import tqdm
from tqdm.asyncio import tqdm_asyncio

from lape.cli import main
from lape.masks.collection import pull
from lape.models import conversion, loading
from lape.models.embedded import SMOLLM2
from lape.report import MARKS

PATIENCE_SECONDS = 120  # with a forked process; what then still runs hangs
REPO, MODEL, PLACE = "org/collection", "org/tiny", "org--tiny/lape"
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate")
CODES = ("de", "en", "fr")
RATES = ["--filter-rate", "0.5", "--bar", "0.5"]


@dataclass(frozen=True)
class Outcome:
    """What became of a forked process.

    Attributes:
        code: Its exit code; None for one that was killed.
        changes: The changes it made or was about to make, by the names of their audit events.
    """

    code: int | None
    changes: tuple[str, ...]

    @property
    def killed(self) -> bool:
        return self.code is None


def forked(
    work: Callable[[], int],
    folder: Path,
    *,
    kill_at: int = 0,
    refuse_at: int = sys.maxsize,
    refusal: int = errno.ENOSPC,
    after: float | None = None,
) -> Outcome:
    """Does something in a forked process that works in a folder; one that hangs ends with 1, and shows where.

    Args:
        work: Gives the exit code.
        folder: Becomes the working directory; changes to files in it are counted.
        kill_at: Kills the process (-9) before its change of that number, counted from 1; 0 does not.
        refuse_at: From its change of that number on the disk takes nothing more; it can still rename and remove.
        refusal: The number of the error it then gets.
        after: Kills it after as many seconds.
    """
    reading, counted = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # threads of the stand-in Hub stay behind, which is what is wanted
        child = os.fork()
    if not child:
        code = 70
        try:
            os.close(reading)
            os.chdir(folder)
            faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True, file=sys.__stderr__)
            for bars in (tqdm, tqdm_asyncio):  # their own are shared with forks, and a killed one never gives them back
                bars.set_lock(threading.RLock())
            _count_changes(folder.resolve(), counted, kill_at, refuse_at, refusal)
            code = work()
        finally:
            os._exit(code)
    os.close(counted)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        changes = tuple(pipe.read().decode().split())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(None if status == -signal.SIGKILL else status, changes)


def _count_changes(folder: Path, counted: int, kill_at: int, refuse_at: int, refusal: int) -> None:
    """Writes down each change to a file of a folder, and kills this process before one of them or refuses it."""
    made = 0

    def change(event: str) -> None:
        nonlocal made
        made += 1
        os.write(counted, f"{event} ".encode())
        if made == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if made >= refuse_at and event in ("open", "os.mkdir", "os.fsync"):
            raise OSError(refusal, os.strerror(refusal))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        named = (opened or event in CHANGES) and isinstance(arguments[0], str | Path)
        if named and Path(os.path.abspath(arguments[0])).is_relative_to(folder):
            change(event)

    fsync = os.fsync

    def synced(opened: int) -> None:  # which is not audited
        change("os.fsync")
        fsync(opened)

    os.fsync = synced
    sys.addaudithook(audit)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, by its path; None for a folder. Of evidence, the times are left out."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else None
        if path.parent.name == "evidence" and path.suffix == ".json":
            content = json.dumps({**json.loads(content or b""), "seconds": 0}).encode()
        found[str(path.relative_to(folder))] = content
    return found


@dataclass(frozen=True)
class World:
    """What the commands find.

    Attributes:
        layouts: Command to the folder that it finds.
        words: Command to what is typed, in that folder.
    """

    layouts: Mapping[str, Path]
    words: Mapping[str, list[str]]

    def lay(self, command: str, folder: Path) -> Callable[[], int]:
        """Makes a folder as a command finds it, anew, and gives the command."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.layouts[command], folder)
        return lambda: main([*self.words[command], "--json"])


@contextmanager
def killable(folder: Path) -> Iterator[World]:
    """Every command that writes, with a tiny model that is loaded; without `tune`, which writes as `evaluate`."""
    with pytest.MonkeyPatch.context() as patch, standing_in(folder / "huggingface", patch) as hub:
        patch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own, whose locks a fork would copy as they are
        torch.manual_seed(0)
        build("llama", hidden_size=64, intermediate_size=128, head_dim=16).save_pretrained(folder / "tiny")
        byte_tokenizer().save_pretrained(folder / "tiny")
        load, loaded = loading.load_model, loading.load_model(str(folder / "tiny"), device="cpu")
        patch.setattr(loading, "load_model", lambda model, **_: load(model, device="cpu") if model else loaded)
        standing_in_for(SMOLLM2, folder / "packages", patch)
        patch.setattr("lape.recording.recorder.CHECKPOINT_EVERY_TOKENS", 200)
        patch.setattr(conversion, "_convert", lambda gguf, to: [part.save_pretrained(to) for part in loaded])

        base, old, new = (folder / name for name in ("base", "old", "new"))
        _texts(base / "corpus")
        record = ["record", "--corpus", "corpus", "--tokens", "128", "--block", "32", "--resume", "--groups", "2"]
        calibrate = ["calibrate", "mask", "--corpus", "corpus", "--tokens", "160", "--block", "32", "--out", "own"]
        with chdir(base):
            assert main([*record, "--out", "mask"]) == 0
            assert main(["identify", "mask", "--top-rate", "0.1", *RATES]) == 0
            (base / "mask" / "evidence").mkdir()
            (base / "mask" / "evidence" / "perplexity.json").write_text(json.dumps(perplexity()))
            (base / "plan.toml").write_text('corpus = "corpus"\n[[models]]\nmodel = "org/tiny"\n')
            (base / "README.md").write_text("\n".join(MARKS) + "\n")
            torch.save([[torch.tensor([0, 1]), torch.tensor([2])]] * 2, base / "mask.pth")
        for place, first in ((old, 1), (new, 2)):
            _mask(place, first)
        (old / "EVIDENCE.md").write_text("# Not in the newer one\n")
        repo = hub.add(REPO, {f"{PLACE}/{path.name}": path.read_bytes() for path in old.iterdir()})
        commits = [repo.at("main").oid]
        repo.commit(
            {f"{PLACE}/{path.name}": path.read_bytes() for path in new.iterdir()} | {f"{PLACE}/EVIDENCE.md": None}
        )
        commits.append(repo.at("main").oid)
        layouts = {"pull over an older one": folder / "pulled"}
        for commit in commits:  # into the cache, so that no request is made below
            pull(REPO, model=MODEL, revision=commit, into=folder / "cached" / commit)
        hub.close()  # and with it its threads
        shutil.copytree(folder / "cached" / commits[0], folder / "pulled" / "precomputed")
        (folder / "pulled" / "precomputed" / PLACE / "notes.txt").write_text("of one's own")
        (folder / "nothing").mkdir()
        layouts["pull over nothing"] = folder / "nothing"

        pulling = ["pull", REPO, "--model", MODEL, "--revision", commits[1]]
        released = ["import", "mask.pth", "--model", "org/other", "--shape", "2x4", "--languages", "fr,en"]
        evaluate = ["evaluate", "perplexity", "--mask", "mask", "--corpus", "corpus", "--languages", "de,en"]
        words = {
            "pull over nothing": pulling,
            "pull over an older one": pulling,
            "record": [*record, "--tokens", "256", "--out", "mask"],
            "identify": ["identify", "mask", "--top-rate", "0.05", *RATES],
            "import": [*released, "--out", "mask"],
            "calibrate": calibrate,
            "evaluate": [*evaluate, "--tokens", "64", "--block", "32", "--seeds", "1", "--out", "evidence"],
            "conversion": ["generate", "Bonjour", "--model", SMOLLM2.key, "--max-new-tokens", "1"],
            "report": ["report", "mask", "--html", "report.html", "--tables", "EVIDENCE.md", "--readme", "README.md"],
        }
        patch.setenv("LAPE_CACHE", "cache")
        yield World({name: layouts.get(name, base) for name in words}, words)


def _mask(folder: Path, first: int) -> None:
    """A mask with a card and statistics; the number is in all of them."""
    mask_of({"fr": [(0, first), (0, 3)], "es": [(1, 0)]}, model=MODEL, method="lape").save(folder)
    (folder / "README.md").write_text(f"# Mask {first}\n")
    statistics_of({"fr": [[first] * 4] * 2, "es": [[2] * 4] * 2}).save(folder / "statistics.safetensors")


def _texts(folder: Path) -> None:
    """Documents of four lines in three "languages" of other letters."""
    folder.mkdir(parents=True)
    for code, letters in zip(CODES, ("abcdefgh ", "ijklmnop ", "qrstuvwx "), strict=True):
        chooser = random.Random(code)
        for split in ("train", "valid"):
            lines = ["".join(chooser.choice(letters) for _ in range(40)).strip().ljust(30, "x") for _ in range(40)]
            documents = ["\n".join(lines[start : start + 4]) for start in range(0, 40, 4)]
            (folder / f"{code}.{split}.txt").write_text("\n\n".join(documents), encoding="utf-8")
