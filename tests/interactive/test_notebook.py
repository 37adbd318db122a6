"""docs/first_method.ipynb runs from top to bottom."""

from __future__ import annotations

import re

import pytest

from support.places import ROOT

NOTEBOOK = ROOT / "docs" / "first_method.ipynb"


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_and_shows_what_it_says(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(output.get("data", {}).get("text/plain", output.get("text", "")) for output in outputs)
    assert "{'done'}" in shown and "21/21" in shown
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    left = re.search(r"([\d,]+) of ([\d,]+) weights left, test accuracy (\d+\.\d)%", shown)
    assert left and left[1] == "2,510" and left[2] == "50,200" and float(left[3]) > 50


def test_the_notebook_holds_no_outputs():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text.count('"outputs": []') == text.count('"cell_type": "code"') == 7
