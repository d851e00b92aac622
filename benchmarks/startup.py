"""From `python app.py` to the page answering, and from the click to the first token of every column.

`python -m benchmarks.startup` starts the whole page in a process of its own, with a warm cache, and uses it as a
client; `--app` names the `app.py` of another checkout to set beside it, `--model` the models to open it on. Starts take
turns, and medians are printed.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client

from lape.demo.compare.request import DEFAULTS

APP = Path(__file__).resolve().parent.parent / "app.py"


def main() -> None:
    """Prints the times of each app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, nargs="*", default=[], help="app.py of other checkouts")
    parser.add_argument("--starts", type=int, default=3, help="starts of each (default: %(default)s)")
    parser.add_argument("--model", nargs="*", default=[], help="models to open each on (default: the embedded one)")
    options = parser.parse_args()
    apps = [APP, *(path.resolve() for path in options.app)]
    ways = [(app, model) for app in apps for model in options.model or [None]]
    measured: dict[tuple[Path, str | None], list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(options.starts):
        for app, model in ways:
            measured[app, model].append(times(app, model))
    for (app, model), runs in measured.items():
        print(app, model or "")
        for name in runs[0]:
            values = sorted(run[name] for run in runs)
            print(f"  {name}: {statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})")


def times(app: Path, model: str | None) -> dict[str, float]:
    """One start and two clicks, in seconds; and how fast each column grows in the second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, str(app), "--port", str(port), *(["--model", model] if model else [])]
    process = subprocess.Popen(command, cwd=app.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(url, process)
        found = {"python app.py to the page answering, seconds": time.perf_counter() - began}
        client = Client(url, verbose=False)
        for click in ("first", "second"):
            began = time.perf_counter()
            job = client.submit(DEFAULTS.prompt, api_name="/compare")
            while not job.outputs():
                time.sleep(0.01)
            first = time.perf_counter()
            found[f"{click} click to the first token of all columns, seconds"] = first - began
            columns = job.result()
        tokens = max(column["new_tokens"] for column in columns.values()) - 1
        found["tokens/s of each of three columns"] = tokens / (time.perf_counter() - first)
        return found
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Waits until the page answers; raises when the process has ended."""
    while True:
        if process.poll() is not None:
            raise SystemExit(f"python app.py ended with exit code {process.returncode}.")
        try:
            with urllib.request.urlopen(url) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)


if __name__ == "__main__":
    main()
