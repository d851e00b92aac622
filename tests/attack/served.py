"""The page in a process of its own, with what an attacker looks for planted around it.

Run as `python served.py MODEL FOLDER`, it serves the page until its standard input ends, and answers the questions
that come there, a word a line, with one line of JSON each.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

SUPPORT = Path(__file__).resolve().parents[1] / "support"
ROOT = SUPPORT.parents[1]
TOKEN = "hf_planted0123456789abcdefghijklmnop"
SECRET = "canary-7b40e2"
PRECOMPUTED = "precomputed"
MASK, STATISTICS = "mask.safetensors", "statistics.safetensors"


@dataclass(frozen=True)
class Served:
    """A page that another process serves.

    Attributes:
        url: Where it is.
        around: Its home, its log, its uploads, and a file it has no business with.
        process: The server.
    """

    url: str
    around: Path
    process: subprocess.Popen[str]

    @property
    def log(self) -> Path:
        """All that the server has written."""
        return self.around / "log.txt"

    @property
    def secret(self) -> Path:
        """A file that nobody may read from outside."""
        return self.around / "secret.txt"

    def ask(self, question: str) -> Any:
        """Asks the process itself: see `ANSWERS`."""
        pipe = self.process.stdin, self.process.stdout
        print(question, file=pipe[0], flush=True)
        return json.loads(pipe[1].readline())  # type: ignore[union-attr]

    def megabytes(self) -> float:
        """The memory it holds."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None


@contextmanager
def served(model: str, around: Path) -> Iterator[Served]:
    """Serves the page with the model `tiny` or `embedded`, without the network, at the login of a planted token."""
    around.mkdir(parents=True, exist_ok=True)
    (around / "secret.txt").write_text(SECRET)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GRADIO_", "LAPE_"))}
    environment = own | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)]),
        **{"HOME": str(around), "HF_HOME": str(around / "hf"), "GRADIO_TEMP_DIR": str(around / "uploads")},
        "LAPE_PRECOMPUTED": str(around / PRECOMPUTED),
        **{"HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"},
    }
    with (around / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, model, str(around)],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True, "env": environment},
        )
        try:
            url = process.stdout.readline().strip()  # type: ignore[union-attr]
            if not url:
                raise RuntimeError(f"The page did not start: {(around / 'log.txt').read_text()[-2000:]}")
            yield Served(url, around, process)
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def sizes(**owners: Any) -> dict[str, int]:
    """How much is in every container that some objects hold directly: what grows in a soak is named by it."""
    return {
        f"{owner}.{name}": len(value)
        for owner, holder in owners.items()
        for name, value in vars(holder).items()
        if isinstance(value, Sized) and not isinstance(value, str | bytes)
    }


def hooks(model: Any) -> int:
    """How many forward hooks are on all modules of a model."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def answers(backend: Any, page: Any) -> dict[str, Callable[[], Any]]:
    """The questions that the served process takes."""
    start = backend.visitors.shared

    def hooks_at_rest() -> int:
        """With the lock held, so that nothing runs."""
        with backend.lock:
            return hooks(start.loaded.model)

    def restore() -> None:
        backend.visitors.shared = start
        backend.shared = False  # until the next call that a proxy seems to hand on

    def held() -> dict[str, int]:
        app, queue = page.app, page._queue
        found = sizes(app=app, page=page, queue=queue, sessions=app.state_holder, visitors=backend.visitors)
        gc.collect()
        return found | {"objects": len(gc.get_objects()), "threads": psutil.Process().num_threads()}

    def routes() -> dict[str, Any]:
        return page.app.openapi()["paths"]

    return {"hooks": hooks_at_rest, "restore": restore, "held": held, "routes": routes}


def shrink(loaded: Any, around: Path) -> None:
    """Has the names of embedded models load the tiny one: a call that loads a real model says nothing of the page."""
    from lape.models import loading
    from lape.models.embedded import EMBEDDED, EmbeddedModel

    folder = around / "tiny"
    for part in (loaded.model, loaded.tokenizer):
        part.save_pretrained(folder)
    EmbeddedModel.files = lambda _: (folder,)
    EmbeddedModel.obstacle = lambda _: ""
    loading.converted_folder = lambda _: folder
    for each in EMBEDDED:
        loaded.known_mask.save(around / PRECOMPUTED / each.model.replace("/", "--") / "lape")


def main(model: str, around: Path, said: IO[str]) -> None:
    """Serves until the standard input ends."""
    import torch
    from browsing import serve
    from families import byte_tokenizer
    from tiny_page import tiny_loaded

    from lape.demo.backend import Backend
    from lape.demo.loaded import Loaded

    torch.set_num_threads(1)
    loaded = tiny_loaded(byte_tokenizer()) if model == "tiny" else Loaded.load(None)
    loaded.known_mask.save(around)
    if model == "tiny":
        shrink(loaded, around)
    backend = Backend(loaded)
    with serve(backend) as (page, url):
        print(url, file=said, flush=True)
        answer = answers(backend, page)
        for line in sys.stdin:
            print(json.dumps(answer[line.strip()]()), file=said, flush=True)
        backend.close()


if __name__ == "__main__":
    answered = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the page prints goes to the log
    main(sys.argv[1], Path(sys.argv[2]), answered)
