"""The script that type checkers see also runs: `make lint` says that its types are right, this that they are true."""

import pathlib
import runpy

import numpy as np


def test_example_runs():
    names = runpy.run_path(str(pathlib.Path(__file__).with_name("typing_example.py")))
    exact, solved, biases = names["energies"]
    assert (exact, solved) == (-1, -1)
    np.testing.assert_array_equal(biases, [1, -1])
    assert names["found"].bits.tolist() == [1, 0]
    assert names["found"].energy == -2
    assert names["answers"] == [[0, 1], [1, 1], [0, 0]]
    assert [output.shape for output in names["features"]] == [(1, 4, 8)] * 2
