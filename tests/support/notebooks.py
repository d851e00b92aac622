"""Runs a notebook's code without Jupyter: every cell in one namespace, as far as plain Python goes.

python tests/support/notebooks.py examples/language_neurons.ipynb    # runs it and keeps what it shows
"""

from __future__ import annotations

import ast
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def read_notebook(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def run_cells(notebook: dict[str, Any]) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """The namespace after the last cell, and the outputs of every code cell as a notebook keeps them."""
    names: dict[str, Any] = {}
    outputs = []
    for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        tree = ast.parse(source(cell))
        last = tree.body.pop().value if isinstance(tree.body[-1], ast.Expr) else None
        printed, shown = io.StringIO(), None
        with redirect_stdout(printed):
            exec(compile(tree, "<cell>", "exec"), names)
            if last is not None:
                shown = eval(compile(ast.Expression(last), "<cell>", "eval"), names)
        made: list[dict[str, Any]] = []
        if printed.getvalue():
            made.append(
                {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
            )
        if shown is not None:
            data = {"text/plain": [repr(shown)]}
            if hasattr(shown, "_repr_html_"):
                data["text/html"] = [shown._repr_html_()]
            made.append(
                {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": len(outputs) + 1}
            )
        outputs.append(made)
    return names, outputs


def renew(path: Path) -> None:
    """Runs a notebook and writes what its cells showed into it."""
    notebook = read_notebook(path)
    _, outputs = run_cells(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, made) in enumerate(zip(code, outputs, strict=True), start=1):
        cell.update(execution_count=number, outputs=made)
    path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
