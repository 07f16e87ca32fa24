"""Every format: what is written is read as the same problem, and what others wrote is read as they mean it."""

import gzip
import io
import json
import os
import sys
from pathlib import Path

import dimod
import dimod.serialization.coo
import numpy as np
import oracle
import pytest
import scipy.io
import scipy.sparse

import qama_jax

pytestmark = pytest.mark.usefixtures("strict")

STATES = oracle.all_states(4)
EDGES = dict(rows=[0, 1, 3, 0], columns=[1, 2, 0, 2], values=[3, -2, 0.5, 7])


def qubo(offset=0.0):
    return qama_jax.Qubo.from_edges(*EDGES.values(), [1.25, 0.0, -4.0, 2.0], offset)


def cut():
    return qama_jax.Ising.from_edges(EDGES["rows"], EDGES["columns"], -np.array(EDGES["values"]) / 2, offset=-4.25)


WRITTEN = {
    "rudy": cut,
    "biqmac": qubo,
    "qs": lambda: qubo(2.5),
    "qbsolv": qubo,
    "coo": qubo,
    "qplib": lambda: qubo(-7.0),
    "matrix-market": qubo,
    "npy": qubo,
    "npz": qubo,
    "bqm": lambda: qubo(1.5),
    "json": lambda: qubo(1.5),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("form", WRITTEN)
def test_round_trip(form, suffix, tmp_path):
    problem, path = WRITTEN[form](), tmp_path / f"file{suffix}"
    qama_jax.write_problem(problem, path, form)
    file = qama_jax.read_problem(path)
    assert file.format == form
    assert type(file.problem) is type(problem)
    assert file.maximize == (form == "rudy")
    assert file.labels == ((1, 2, 3, 4) if form in ("rudy", "biqmac", "qs", "qplib") else (0, 1, 2, 3))
    np.testing.assert_array_equal(file.problem.exact_energy(STATES), problem.exact_energy(STATES))
    sign = -1 if form == "rudy" else 1
    np.testing.assert_array_equal(file.objective(STATES), sign * problem.exact_energy(STATES))
    assert path.read_bytes().startswith(b"\x1f\x8b") == (suffix == ".gz")


@pytest.mark.parametrize("form", ["bqm", "json", "qplib", "coo"])
def test_labels_and_kinds_of_variables_are_kept(form, tmp_path):
    problem = cut() if form in ("bqm", "json", "coo") else qubo()
    problem = qama_jax.Ising.from_edges([0], [1], [1.5], [0.0, 0.0, 2.0]) if form == "coo" else problem
    labels = [7, 3, 9] if form == "coo" else ["d", "a", "c", "b"]
    qama_jax.write_problem(problem, tmp_path / "file", form, labels=labels)
    file = qama_jax.read_problem(tmp_path / "file")
    assert type(file.problem) is type(problem)
    order = [labels.index(label) for label in file.labels]
    states = oracle.all_states(len(labels))
    np.testing.assert_array_equal(file.problem.exact_energy(states[:, order]), problem.exact_energy(states))


def test_maximisation_is_kept(tmp_path):
    problem = qubo(3.0)
    qama_jax.write_problem(problem, tmp_path / "file", "qplib", maximize=True)
    assert "maximize" in (tmp_path / "file").read_text()
    file = qama_jax.read_problem(tmp_path / "file")
    assert file.maximize
    np.testing.assert_array_equal(file.problem.exact_energy(STATES), problem.exact_energy(STATES))
    np.testing.assert_array_equal(file.objective(STATES), -problem.exact_energy(STATES))


def model(vartype):
    bqm = dimod.BinaryQuadraticModel(
        {"x": 1.5, ("y", 2): -2.0, 3: 0.0}, {("x", 3): 4.0, ("x", ("y", 2)): -1}, 0.25, vartype
    )
    return bqm


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_models_that_dimod_writes(vartype, tmp_path):
    bqm = model(vartype)
    with bqm.to_file() as file:
        (tmp_path / "bqm").write_bytes(file.read())
    (tmp_path / "json").write_text(json.dumps(bqm.to_serializable()))
    indexed = bqm.relabel_variables({"x": 0, ("y", 2): 1, 3: 5}, inplace=False)
    indexed.offset = 0
    (tmp_path / "coo").write_text(dimod.serialization.coo.dumps(indexed, vartype_header=True))
    for name, expected in (("bqm", bqm), ("json", bqm), ("coo", indexed)):
        file = qama_jax.read_problem(tmp_path / name)
        assert file.format == name
        assert set(file.labels) == set(expected.variables)
        states = oracle.all_states(3)
        variables = 2 * states - 1 if vartype == "SPIN" else states
        np.testing.assert_allclose(file.objective(states), expected.energies((variables, list(file.labels))))


def test_matrices_that_others_write(tmp_path):
    matrix = np.array([[1.5, 2.0, 0.0], [2.0, 0.0, -1.0], [0.0, -1.0, 3.0]])
    states = oracle.all_states(3)
    expected = np.einsum("ri,ij,rj->r", states, matrix, states)
    with (tmp_path / "symmetric").open("wb") as file:
        scipy.io.mmwrite(file, scipy.sparse.coo_array(matrix), symmetry="symmetric")
    with (tmp_path / "array").open("wb") as file:
        scipy.io.mmwrite(file, matrix)
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.csc_array(matrix))
    np.save(tmp_path / "dense.npy", np.array([[3_000_000_000, 0], [0, -5_000_000_000]]))
    for name in ("symmetric", "array", "sparse.npz"):
        np.testing.assert_allclose(qama_jax.read_problem(tmp_path / name).objective(states), expected)
    assert qama_jax.read_problem(tmp_path / "dense.npy").objective([0, 1]) == -5_000_000_000


QPLIB = """! a comment
MAXCUT
QBN
maximize
3 # variables
3 # quadratic terms
2 1 -2 # pair
3 1 4.0
3 3 6
1 # default
1
2 0.5
-3 # constant
1e+30
0
1
2 1.0
0
0
2
1 first
3 third
0
"""


def test_qplib_as_its_paper_has_it(tmp_path):
    """½ xᵀQx with the lower triangle listed: a pair counts once, a square by half."""
    (tmp_path / "file.qplib").write_text(QPLIB)
    file = qama_jax.read_problem(tmp_path / "file.qplib")
    assert (file.format, file.maximize, file.labels) == ("qplib", True, ("first", 2, "third"))
    for a, b, c in oracle.all_states(3).astype(float):
        expected = -2 * a * b + 4 * a * c + 3 * c * c + a + 0.5 * b + c - 3
        assert file.objective(np.array([a, b, c])) == expected


def test_qs_counts_pairs_twice_and_keeps_the_offset(tmp_path):
    (tmp_path / "file.qs").write_text("# ObjectiveOffset 285\n# Vars Non-zeros\n2 3\n1 1 -4\n1 2 3\n2 2 -1\n")
    file = qama_jax.read_problem(tmp_path / "file.qs")
    assert file.objective([1, 1]) == 285 - 4 + 6 - 1


TRIANGLE = b"3 3\n1 2 1\n2 3 2\n1 3 -1\n"


def test_byte_order_mark_gzip_and_standard_input(tmp_path, monkeypatch):
    (tmp_path / "bom.rudy").write_bytes(b"\xef\xbb\xbf" + TRIANGLE)
    (tmp_path / "packed.rudy.gz").write_bytes(gzip.compress(TRIANGLE))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(TRIANGLE))))
    for path in (tmp_path / "bom.rudy", tmp_path / "packed.rudy.gz", "-"):
        file = qama_jax.read_problem(path)
        assert file.format == "rudy"
        assert file.objective([0, 1, 0]) == 3


def test_rudy_and_biqmac_are_told_apart(tmp_path):
    for name, text, form in (
        ("a.txt", "2 1\n1 2 3\n", "rudy"),
        ("a.txt", "2 2\n1 2 3\n1 1 2\n", "biqmac"),
        ("a.sparse", "2 1\n1 2 3\n", "biqmac"),
        ("a.sparse", "2 1\n1 2 3\n", "biqmac"),
    ):
        (tmp_path / name).write_text(text)
        assert qama_jax.read_problem(tmp_path / name).format == form


def test_large_integers_are_exact(tmp_path):
    """Weights that float32 holds only rounded; the objective comes from the file's own numbers."""
    (tmp_path / "cut").write_text("3 2\n1 2 20312651\n2 3 20312651\n")
    assert qama_jax.read_problem(tmp_path / "cut").objective([0, 1, 0]) == 40_625_302
    (tmp_path / "huge").write_text(f"2 2\n1 1 {2**70 + 1}\n1 2 1\n")
    objective = qama_jax.read_problem(tmp_path / "huge").objective([[1, 1], [1, 0]])
    assert objective.tolist() == [2**70 + 3, 2**70 + 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello world\n", "of no known format, it starts with 'hello world'"),
        ("0 1 -2.5\n1 1 3\n", "if it lists `i j bias`, write `# vartype=BINARY`"),
        ("p qubo 0 2 1\n", "line 1: expected `p qubo 0 n nodes couplers`"),
        ("p qubo 0 2 1 1\n0 0 1\n", "has 1 entries, 1 nodes and 1 couplers"),
        ("c hi\np qubo 0 2 1 1\n0 1 1\n0 0 1\n", "line 3: nodes `i i w` come first"),
        ("p qubo 0 2 0 1\n0 2 1\n", "line 2: 0 2 is out of range"),
        ("p qubo 0 2 0 2\n0 1 1\n1 0 1\n", "line 3: 1 0|second time"),
        ("# vartype=SPIN\n0 1\n", "line 2: expected `i j bias`"),
        ("# vartype=INTEGER\n0 1 1\n", "write `# vartype=BINARY`"),
        ("# vartype=BINARY\n0 1 nan\n", "line 2: the weight is nan"),
        ("# ObjectiveOffset x\n1 0\n", "line 1: expected a number, got 'x'"),
        (QPLIB.replace("QBN", "QBL"), "type QBL"),
        (QPLIB.replace("maximize", "max"), "expected minimize or maximize"),
        (QPLIB.replace("3 1 4.0", "4 1 4.0"), "line 8: expected an index between 1 and 3, got '4'"),
        (QPLIB[:60], "ends too early"),
        ("%%MatrixMarket matrix array real general\n2 3\n1\n1\n1\n1\n1\n1\n", "must be square"),
        ("%%MatrixMarket matrix nonsense\n", "no matrix in MatrixMarket's format"),
        ('{"type": "other"}', "holds no binary quadratic model"),
        ("DIMODBQM\x02\x00", "holds no binary quadratic model"),
        ("PK\x03\x04", "holds no sparse matrix"),
    ],
)
def test_errors(tmp_path, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=message):
        qama_jax.read_problem(tmp_path / "file")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: qama_jax.write_problem(qubo(), path, "csv"), "format must be one of rudy, biqmac"),
        (lambda path: qama_jax.write_problem(qubo(), path, "rudy"), "'rudy' holds no linear term"),
        (lambda path: qama_jax.write_problem(qubo(1.0), path, "npy"), "'npy' holds no offset"),
        (lambda path: qama_jax.write_problem(qubo(), path, "npy", labels="abcd"), "holds no labels"),
        (lambda path: qama_jax.write_problem(qubo(), path, "coo", labels="abcd"), "labels other than indices"),
        (lambda path: qama_jax.write_problem(qubo(), path, "bqm", labels="aacd"), "4 different ones"),
        (lambda path: qama_jax.write_problem(qubo(), path, "bqm", maximize=True), "choose 'qplib'"),
    ],
)
def test_nothing_is_lost_silently(tmp_path, write, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "file")


@pytest.mark.parametrize("variable", ["QAMA_INSTANCES", "QAMA_INSTANCES_GENERAL"])
def test_public_instances_are_told_by_their_content(variable):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set: a folder of public instances with its manifest.json")
    for entry in json.loads((Path(folder) / "manifest.json").read_text()):
        if entry["format"] in ("rudy", "biqmac", "qbsolv", "qs"):
            file = qama_jax.read_problem(Path(folder) / entry["file"])
            assert file.format == entry["format"], entry["name"]
            assert file.maximize == (entry["objective"] == "max_cut")
            assert len(file.labels) == file.problem.shape[0]
