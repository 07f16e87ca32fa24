"""The readers, on hand-written text and, where they are at hand, on the public instances."""

import functools
import json
import os
from pathlib import Path

import jax
import numpy as np
import oracle
import pytest
from enumeration import energies as energies_of

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")


def read_rudy(path):
    return qama_jax.read_problem(path, "rudy").problem


def read_biqmac(path):
    return qama_jax.read_problem(path, "biqmac").problem


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "instance.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def energies(problem):
    states = oracle.all_states(problem.shape[0])
    return states, energies_of(problem, states)


@pytest.mark.parametrize(
    "text",
    [
        "4 4\n1 2 3\n2 3 -2\n1 4 0.5\n4 3 1\n",
        "4 4 J\r\n1 2 3\r\n\r\n2 3 -2\r\n1 4 0.5\r\n4 3\r\n\r\n",
        "# a comment\n 4  4 \n1\t2 3.0\n# another\n2 3 -2e0\n1 4 +.5\n4 3",
    ],
)
def test_rudy_energy_is_minus_the_cut(write, text):
    problem = read_rudy(write(text))
    assert isinstance(problem, qama_jax.Ising)
    edges = [(0, 1, 3.0), (1, 2, -2.0), (0, 3, 0.5), (3, 2, 1.0)]
    states, found = energies(problem)
    cuts = [sum(weight for i, j, weight in edges if state[i] != state[j]) for state in states]
    np.testing.assert_array_equal(found, -np.array(cuts))
    np.testing.assert_array_equal(energies(problem.to_qubo())[1], found)


@pytest.mark.parametrize(
    "text", ["3 4\n1 1 -5\n1 2 3\n3 2 -7\n3 3 2\n", "# of the library\n3 4\n1 1 -5\n2 1 3.0\n2 3 -7\n3 3 2"]
)
def test_biqmac_counts_entries_off_the_diagonal_twice(write, text):
    problem = read_biqmac(write(text))
    assert isinstance(problem, qama_jax.Qubo)
    states, found = energies(problem)
    expected = [-5 * x + 2 * 3 * x * y + 2 * -7 * y * z + 2 * z for x, y, z in states.astype(int)]
    np.testing.assert_array_equal(found, expected)


def test_no_edges(write):
    problem = read_rudy(write("3 0\n"))
    np.testing.assert_array_equal(energies(problem)[1], np.zeros(8))


def test_path_as_text(write):
    assert read_rudy(str(write("2 1\n1 2\n"))).shape == (2,)


SHARED_ERRORS = [
    ("", "instance.txt is empty"),
    ("# only a comment\n", "instance.txt is empty"),
    ("3\n1 2 1\n", "line 1: expected `n m`"),
    ("three 1\n1 2 1\n", "line 1: expected `n m`"),
    ("0 0\n", "line 1: expected `n m`"),
    ("3 -1\n", "line 1: expected `n m`"),
    ("3 1 7\n1 2 1\n", "line 1: expected `n m`"),
    ("3 2\n1 2 1\n", "ends after 1 of 2 entries; it is truncated"),
    ("3 1\n1 2 1\n\n2 3 1\n", "line 4: one entry more than the 1 of line 1"),
    ("3 1\n1 two 1\n", "line 2: expected .*'1 two 1'"),
    ("3 1\n1 2 one\n", "line 2: expected"),
    ("3 1\n1 2.5 1\n", "line 2: expected"),
    ("3 1\n1\n", "line 2: expected"),
    ("3 1\n1 2 3 4\n", "line 2: expected"),
    ("# comment\n3 1\n1 4 1\n", "line 3: 1 4 is out of range; indices must be between 1 and 3"),
    ("3 1\n0 1 1\n", "line 2: 0 1 is out of range"),
    ("3 1\n1 2 nan\n", "line 2: the weight is nan"),
    ("3 1\n1 2 inf\n", "line 2: the weight is inf"),
    ("3 2\n1 2 1\n2 1 1\n", "line 3: 2 1 is listed a second time"),
    (b"\x93NUMPY\x01\xff", "instance.txt is not a text file"),
]


@pytest.mark.parametrize("read", [read_rudy, read_biqmac])
@pytest.mark.parametrize(("text", "message"), SHARED_ERRORS)
def test_errors_name_file_and_line(write, read, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(write(text))
    assert "instance.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_rudy, "3 1\n2 2 1\n", "vertex 2 has an edge to itself"),
        (read_biqmac, "3 1\n1 2\n", "line 2: expected `i j w`"),
        (read_biqmac, "3 1 J\n1 2 1\n", "line 1: expected `n m`"),
    ],
)
def test_errors_of_one_format(write, read, text, message):
    with pytest.raises(ValueError, match=message):
        read(write(text))


@pytest.mark.parametrize(("read", "form"), [(qama_jax.read_rudy, "rudy"), (qama_jax.read_biqmac, "biqmac")])
def test_old_names_still_read(write, read, form):
    path = write("3 2\n1 2 3\n2 3 -1\n")
    with pytest.warns(DeprecationWarning, match=rf'use read_problem\(path, format="{form}"\)') as warned:
        problem = read(path)
    assert warned[0].filename == __file__
    expected = qama_jax.read_problem(path, format=form).problem
    np.testing.assert_array_equal(energies(problem)[1], energies(expected)[1])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.rudy"):
        read_rudy(tmp_path / "no.rudy")


@functools.cache
def instances():
    """Of the manifest in the folder QAMA_INSTANCES: (path, format, best known value) of each instance in text."""
    folder = os.environ.get("QAMA_INSTANCES")
    if not folder:
        pytest.skip("QAMA_INSTANCES is not set: the folder of public instances with its manifest.json")
    entries = json.loads((Path(folder) / "manifest.json").read_text())
    return [(Path(folder) / e["file"], e["format"], e["best"]) for e in entries if e["format"] in ("rudy", "biqmac")]


READERS = {"rudy": read_rudy, "biqmac": read_biqmac}


def test_public_instances_are_read():
    assert instances()
    for path, form, _ in instances():
        lines = path.read_text().split("\n")
        problem = READERS[form](path)
        assert problem.shape == (int(lines[0].split()[0]),)
        i, j, weight = (float(word) for word in lines[1].split())
        terms = problem.terms().to_bits()
        first, second = sorted((int(i) - 1, int(j) - 1))
        if first == second:
            assert terms.linear[first] == weight
        else:
            assert terms.values[(terms.rows == first) & (terms.columns == second)] == 2 * weight


def test_no_energy_is_below_the_best_known_value():
    """And few are far above it, which they would be if the readers had factors wrong."""
    solver = qama_jax.SimulatedBifurcation(num_reads=32, coupling_strength=0.5)
    for path, form, best in instances():
        problem = READERS[form](path)
        if problem.shape[0] > 120:
            continue
        lowest = -best if form == "rudy" else best
        energy = float(qama_jax.solve(jax.random.key(0), problem, solver).energy)
        assert lowest <= energy <= 0.95 * lowest, path.name
