"""The notebook of examples/ runs from its first cell to its last, and says what it did."""

from __future__ import annotations

import pytest
from check_structure import ROOT
from notebooks import read_notebook, run_cells, source

from lape.models.embedded import SMOLLM2

NOTEBOOK = read_notebook(ROOT / "examples" / "language_neurons.ipynb")


def test_its_cells_have_been_run_in_order() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert all(compile(source(cell), "<cell>", "exec") for cell in code)  # no magic, so that the next test can run it


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.files(), reason="SmolLM2 is not installed: make app installs it")
def test_it_finds_switches_and_measures() -> None:
    names, outputs = run_cells(NOTEBOOK)
    assert names["mine"].languages == ("de", "es", "fr")
    assert list(names["texts"]) == ["on", "off", "steered"]
    assert len({*names["texts"].values()}) == 3
    costs = names["costs"]
    assert all(row[code] == max(row.values()) > 1 for code, row in costs.items())  # the own text suffers most
    kept = [cell["outputs"] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [[one["output_type"] for one in each] for each in kept] == [
        [one["output_type"] for one in each] for each in outputs
    ]
