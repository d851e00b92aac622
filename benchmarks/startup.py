"""From `python app.py` to the page answering, and from the click to the first token of every column.

`python -m benchmarks.startup` starts the page in a process of its own, with a warm cache, and uses it as a client.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client

from lape.demo.request import DEFAULTS

APP = Path(__file__).parent.parent / "app.py"


def main() -> None:
    """Prints the two times."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    app = subprocess.Popen([sys.executable, str(APP), "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(url, app)
        print(f"python app.py to the page answering: {time.perf_counter() - began:.1f} s")
        client = Client(url, verbose=False)
        for click in ("first", "second"):
            began = time.perf_counter()
            job = client.submit(DEFAULTS.prompt, api_name="/compare")
            while not job.outputs():
                time.sleep(0.01)
            print(f"{click} click to the first token of all columns: {time.perf_counter() - began:.2f} s")
            job.result()
    finally:
        app.terminate()
        app.wait()


def wait_for(url: str, app: subprocess.Popen) -> None:
    """Waits until the page answers; raises when the process has ended."""
    while True:
        if app.poll() is not None:
            raise SystemExit(f"python app.py ended with exit code {app.returncode}.")
        try:
            with urllib.request.urlopen(url) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)


if __name__ == "__main__":
    main()
