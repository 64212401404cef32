"""The notebook of docs runs from top to bottom, small."""

from pathlib import Path

import nbclient
import nbformat
import pytest

DOCS = Path(__file__).parent.parent / "docs"


# Each of its transfers would trace graphs of its own, which takes most of a small one.
SMALL = f"""
import sys
import tensorflow as tf
sys.path.insert(0, {str(Path(__file__).parent)!r})
from helpers import narrow_network
from gatys_norm.network import vgg, weights
tf.config.run_functions_eagerly(True)
vgg.load_model = narrow_network.load_model
weights.locate = lambda source: weights.WeightsFile(None, source, "0" * 64)
"""


@pytest.mark.slow
def test_every_cell_runs():
    """With a narrow network in place of the real one."""
    notebook = nbformat.read(DOCS / "library.ipynb", as_version=4)
    parameters = next(
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    )
    small = parameters.source.replace("SIZE, ITERATIONS = 160, 60", "SIZE, ITERATIONS = 32, 2")
    assert small != parameters.source
    parameters.source = small + SMALL
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(DOCS)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == 5
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    for words in ("completed", "content distance", "style/relu3_1"):
        assert words in printed


def test_its_stored_outputs_are_whole_and_quiet():
    notebook = nbformat.read(DOCS / "library.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
