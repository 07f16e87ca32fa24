"""Every format: what is written is read as the same problem, and what others wrote is read as they mean it."""

import gzip
import io
import json
import math
import os
import sys
import tracemalloc
from pathlib import Path

import dimod
import dimod.serialization.coo
import numpy as np
import oracle
import pytest
import scipy.io
import scipy.sparse

import qama_jax
from qama_jax import cli
from qama_jax.hardware.kaiwu.conversions import qubo_to_kaiwu
from qama_jax.problems.formats import FORMATS, Format
from qama_jax.problems.formats.model import Model
from qama_jax.problems.terms import make_terms

pytestmark = pytest.mark.usefixtures("strict")

STATES = oracle.all_states(4)
EDGES = dict(rows=[0, 1, 3, 0], columns=[1, 2, 0, 2], values=[3, -2, 0.5, 7])


def qubo(offset=0.0):
    return qama_jax.Qubo.from_edges(*EDGES.values(), [1.25, 0.0, -4.0, 2.0], offset)


def cut():
    return qama_jax.Ising.from_edges(EDGES["rows"], EDGES["columns"], -np.array(EDGES["values"]) / 2, offset=-4.25)


def ising(biases=(1.25, 0.0, -4.0, 2.0), offset=0.0):
    return qama_jax.Ising.from_edges(*EDGES.values(), biases, offset)


WRITTEN = {
    "rudy": cut,
    "biqmac": qubo,
    "qs": lambda: qubo(2.5),
    "qubist": ising,
    "qbsolv": qubo,
    "coo": qubo,
    "qplib": lambda: qubo(-7.0),
    "matrix-market": qubo,
    "npy": qubo,
    "npz": qubo,
    "csv": qubo,
    "kaiwu": lambda: ising([0.0] * 4),
    "lp": lambda: qubo(2.5),
    "bqpjson": lambda: ising(offset=1.5),
    "bqm": lambda: qubo(1.5),
    "json": lambda: qubo(1.5),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("form", WRITTEN)
def test_round_trip(form, suffix, tmp_path):
    problem, path = WRITTEN[form](), tmp_path / f"file{suffix}"
    qama_jax.write_problem(problem, path, form)
    file = qama_jax.read_problem(path, "kaiwu" if form == "kaiwu" else None)
    assert file.format == form
    assert type(file.problem) is type(problem)
    assert file.maximize == file.is_cut == (form == "rudy")
    labels = (1, 2, 3, 4) if form in ("rudy", "biqmac", "qs", "qplib") else (0, 1, 2, 3)
    assert file.labels == (tuple(f"x{label}" for label in labels) if form == "lp" else labels)
    np.testing.assert_array_equal(file.problem.exact_energy(STATES), problem.exact_energy(STATES))
    sign = -1 if form == "rudy" else 1
    np.testing.assert_array_equal(file.objective(STATES), sign * problem.exact_energy(STATES))
    assert path.read_bytes().startswith(b"\x1f\x8b") == (suffix == ".gz")


def random_problem(rng, form):
    """Of any size, density and kind of numbers that the format holds."""
    size = int(rng.integers(1, 9))
    rows, columns = np.triu_indices(size, 1)
    kept = rng.random(len(rows)) < rng.choice([0.3, 1.0])
    rows, columns = rows[kept], columns[kept]
    draw = {
        "small integers": lambda n: rng.integers(-9, 10, n),
        "large integers": lambda n: 2 * rng.integers(-(2**51), 2**51, n),
        "quarters": lambda n: rng.integers(-99, 100, n) / 4,
        "floats": lambda n: rng.standard_normal(n),
        "of all scales": lambda n: rng.standard_normal(n) * 10.0 ** rng.integers(-12, 12, n),
    }[rng.choice(["small integers", "large integers", "quarters", "floats", "of all scales"])]
    values, linear = draw(len(rows)), draw(size)
    (offset,) = draw(1)
    if form == "rudy":
        values = values.astype(float)
        return qama_jax.Ising.from_edges(rows, columns, -values, size=size, offset=-math.fsum(values))
    spins = form in ("qubist", "kaiwu") or (form in ("bqm", "json", "bqpjson", "coo") and rng.random() < 0.5)
    linear = np.zeros(size) if form == "kaiwu" else linear
    offset = offset if form in ("qs", "qplib", "lp", "bqm", "json", "bqpjson") else 0
    make = qama_jax.Ising.from_edges if spins else qama_jax.Qubo.from_edges
    return make(rows, columns, values, linear, offset)


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if form.write])
def test_random_problems_come_back_bit_by_bit(form, tmp_path):
    """Every term of every problem that a format can hold, from each writer."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        problem, path = random_problem(rng, form), tmp_path / f"file{rng.choice(['', '.gz'])}"
        first = FORMATS[form].first_index
        labels = list(range(first, first + problem.shape[0]))
        if FORMATS[form].labels:
            labels = [int(i) for i in 3 * rng.permutation(len(labels))]
            if form in ("bqm", "json", "qplib", "lp"):
                labels = [f"v{label}" for label in labels]
        maximize = FORMATS[form].maximize and bool(rng.random() < 0.5)
        qama_jax.write_problem(problem, path, form, labels=labels, maximize=maximize)
        file = qama_jax.read_problem(path, form)
        assert file.maximize == (maximize or form == "rudy")
        order = [labels.index(label) for label in file.labels]
        terms, expected = file.problem.terms(), problem.terms()
        assert terms.spins == expected.spins
        if order == sorted(order):
            for name in ("linear", "rows", "columns", "values", "offset"):
                np.testing.assert_array_equal(getattr(terms, name), getattr(expected, name), f"{seed}: {name}")
        else:  # the same numbers in another order, whose sums may round otherwise
            states = oracle.all_states(len(labels))
            size = float(sum(abs(expected.linear)) + sum(abs(expected.values)) + abs(expected.offset))
            found, energies = file.problem.exact_energy(states[:, order]), problem.exact_energy(states)
            np.testing.assert_allclose(found.astype(float), energies.astype(float), rtol=1e-14, atol=1e-14 * size)


def test_a_format_is_one_object(tmp_path, monkeypatch, capsys):
    """Registered in one place, it is read, written, told by its content, and known to the command."""

    def read(source):
        weights = [float(word) for word in source.text.split()[1:]]
        terms = make_terms(len(weights), [], [], [], weights, spins=False)
        return Model(terms, tuple("abc"[: len(weights)]), maximize=True)._replace(terms=terms.negated())

    def write(model):
        return " ".join(["fields", *(str(-weight) for weight in model.terms.linear)])

    fields = Format("fields", read, lambda source: source.data.startswith(b"fields"), write, labels=True, maximize=True)
    monkeypatch.setitem(FORMATS, "fields", fields)
    qama_jax.write_problem(qama_jax.Qubo(np.diag([1.0, -2.5])), tmp_path / "file", "fields", labels="ab", maximize=True)
    assert (tmp_path / "file").read_text() == "fields -1.0 2.5"
    for form in (None, "fields"):
        file = qama_jax.read_problem(tmp_path / "file", form)
        assert (file.format, file.labels, file.maximize, file.objective([1, 1])) == ("fields", ("a", "b"), True, 1.5)
    for choice in ([], ["--format", "fields"]):
        arguments = ["solve", str(tmp_path / "file"), "--solver", "exhaustive", "--no-cache", *choice]
        cli.main(arguments)
        report = json.loads(capsys.readouterr().out)
        assert (report["format"], report["objective"], report["bits"]) == ("fields", 2.5, [0, 1])


@pytest.mark.parametrize("form", ["bqm", "json", "qplib", "coo", "bqpjson", "lp"])
def test_labels_and_kinds_of_variables_are_kept(form, tmp_path):
    problem = cut() if form in ("bqm", "json", "coo") else qubo()
    problem = qama_jax.Ising.from_edges([0], [1], [1.5], [0.0, 0.0, 2.0]) if form in ("coo", "bqpjson") else problem
    labels = [7, 3, 9] if form in ("coo", "bqpjson") else ["d", "a", "c", "b"]
    qama_jax.write_problem(problem, tmp_path / "file", form, labels=labels)
    file = qama_jax.read_problem(tmp_path / "file")
    assert type(file.problem) is type(problem)
    order = [labels.index(label) for label in file.labels]
    states = oracle.all_states(len(labels))
    np.testing.assert_array_equal(file.problem.exact_energy(states[:, order]), problem.exact_energy(states))


@pytest.mark.parametrize("form", ["qplib", "lp"])
def test_maximisation_is_kept(form, tmp_path):
    problem = qubo(3.0)
    qama_jax.write_problem(problem, tmp_path / "file", form, maximize=True)
    assert "maximize" in (tmp_path / "file").read_text().lower()
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


MARKED = """! ---------------
! with remarks as in the format's own description
! ---------------
MARKED # name
QBN # type
Minimize # sense
3 variables
3 nonzeros in the lower triangle
1 1 2.0 5 lines: row, column and value
2 1 -1.0 |
% another remark
3 2 4.0 |
-0.25 default value of b
1 that is not the default
2 -0.5 1 line: index and value
0.75 value of q
1.0E+20 infinity
0.0 default start
0 others
0.0 default dual
0 others
1 name
3 third 1 line
0 names of constraints
"""


def test_qplib_with_remarks_after_the_numbers(tmp_path):
    (tmp_path / "file").write_text(MARKED)
    file = qama_jax.read_problem(tmp_path / "file")
    assert (file.format, file.maximize, file.labels) == ("qplib", False, (1, 2, "third"))
    for a, b, c in oracle.all_states(3).astype(float):
        expected = a * a - a * b + 4 * b * c - 0.25 * a - 0.5 * b - 0.25 * c + 0.75
        assert file.objective(np.array([a, b, c])) == expected
    (tmp_path / "file").write_text(MARKED.replace("Minimize", "MAXIMIZE").replace("QBN", "qbn"))
    assert qama_jax.read_problem(tmp_path / "file").maximize


QUBIST = "6 4\n1 1 1.3\n5 5 -0.7\n1 3 -0.2\n1 5 1.5\n"  # bqpjson's own example, whose energies its converter keeps
BQPJSON = {
    "version": "0.1.0",
    "id": 0,
    "metadata": {},
    "variable_ids": [1, 3, 5],
    "variable_domain": "spin",
    "scale": 2.7,
    "offset": 1.23,
    "linear_terms": [{"id": 1, "coeff": 1.3}, {"id": 5, "coeff": -0.7}],
    "quadratic_terms": [
        {"id_tail": 1, "id_head": 3, "coeff": -0.2},
        {"id_tail": 1, "id_head": 5, "coeff": 1.5},
    ],
}
SCALED_QUBO = """c scale : 2.7
c offset : 1.93
c
p qubo 0 6 2 2
c linear terms
3 3 0.4
5 5 -4.4
c quadratic terms
1 3 -0.8
1 5 6.0
"""


def spin_energies(states, places):
    """Of the examples above, without their scale and offset."""
    first, second, third = (2.0 * states[:, place] - 1 for place in places)
    return 1.3 * first - 0.7 * third - 0.2 * first * second + 1.5 * first * third


def test_qubist_is_an_ising_problem(tmp_path):
    """What is read as Biq Mac's, with indices from 1, has its optimum at -0.7 instead of -3.7."""
    (tmp_path / "file").write_text(QUBIST)
    states = oracle.all_states(6)
    file = qama_jax.read_problem(tmp_path / "file", "qubist")
    np.testing.assert_allclose(file.objective(states), spin_energies(states, (1, 3, 5)))
    np.testing.assert_allclose(file.objective(states).min(), -3.7)
    with pytest.raises(
        ValueError, match=r"may be of format biqmac or qubist; pass format='biqmac' \(--format biqmac\)"
    ):
        qama_jax.read_problem(tmp_path / "file")
    (tmp_path / "file.qh").write_text(QUBIST)
    assert qama_jax.read_problem(tmp_path / "file.qh").format == "qubist"


def test_scale_and_offset_count(tmp_path):
    """Of bqpjson, and in the comments that its converter writes for qbsolv."""
    (tmp_path / "file").write_text(json.dumps(BQPJSON))
    states = oracle.all_states(3)
    file = qama_jax.read_problem(tmp_path / "file")
    assert (file.format, file.labels) == ("bqpjson", (1, 3, 5))
    expected = 2.7 * (spin_energies(states, (0, 1, 2)) + 1.23)
    np.testing.assert_allclose(file.objective(states), expected)
    (tmp_path / "file").write_text(SCALED_QUBO)
    states = oracle.all_states(6)
    expected = 2.7 * (spin_energies(states, (1, 3, 5)) + 1.23)
    np.testing.assert_allclose(qama_jax.read_problem(tmp_path / "file").objective(states), expected)
    (tmp_path / "file").write_text("# ObjectiveOffset 5\n1 1\n1 1 2\n")
    with pytest.raises(ValueError, match="read it as 'qs'"):
        qama_jax.read_problem(tmp_path / "file", "biqmac")


def test_lp_as_dimod_writes_it(tmp_path):
    model = dimod.ConstrainedQuadraticModel()
    a, b, c = dimod.Binaries(["a", "b", "c"])
    model.set_objective(2 * a - 3 * b * c + 0.5 * c * a + 7)
    (tmp_path / "file").write_text(dimod.lp.dumps(model))
    file = qama_jax.read_problem(tmp_path / "file")
    assert file.format == "lp"
    states = oracle.all_states(3)
    expected = model.objective.energies((states, list(file.labels)))
    np.testing.assert_array_equal(file.objective(states), expected)


CUT = np.array([[0, 3, 0, -2], [3, 0, 1.5, 0], [0, 1.5, 0, 1], [-2, 0, 1, 0]])
GRAPHS = {
    "symmetric.npy": lambda path: np.save(path, CUT),
    "upper.npy": lambda path: np.save(path, np.triu(CUT)),
    "lower.npz": lambda path: scipy.sparse.save_npz(path, scipy.sparse.csr_array(np.tril(CUT))),
    "symmetric.mtx": lambda path: scipy.io.mmwrite(path, scipy.sparse.coo_array(CUT), symmetry="symmetric"),
    "rows.csv": lambda path: path.write_text("".join(",".join(map(str, row)) + "\n" for row in CUT.tolist())),
    "from one": lambda path: path.write_text("4 4\n1 2 3\n2 3 1.5\n3 4 1\n1 4 -2\n"),
    "from zero": lambda path: path.write_text("4 4\n0 1 3\n1 2 1.5\n2 3 1\n0 3 -2\n"),
    "edges": lambda path: path.write_text("# of four vertices\n2 5 3\n5 7 1.5\n7 9 1\n2 9 -2\n"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_largest_cut_of_a_graph(name, tmp_path):
    path = tmp_path / name
    GRAPHS[name](path)
    file = qama_jax.read_problem(path, graph=True)
    assert (file.is_cut, file.maximize) == (True, True)
    assert file.labels == {"from one": (1, 2, 3, 4), "edges": (2, 5, 7, 9)}.get(name, (0, 1, 2, 3))
    for state in oracle.all_states(4):
        sides = state[:, None] != state[None]
        assert file.objective(state) == np.sum(np.triu(CUT)[sides])
    if name != "from one":
        with pytest.raises(ValueError, match=r"graph=True \(--graph\)"):
            qama_jax.read_problem(path)


def test_edges_without_weights_or_counts(tmp_path):
    (tmp_path / "file").write_text("0 1\n1 2\n2 0\n2 7\n")
    file = qama_jax.read_problem(tmp_path / "file", graph=True)
    assert (file.format, file.labels) == ("edge-list", (0, 1, 2, 7))
    assert file.objective([[0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]]).tolist() == [3, 3, 0]


@pytest.mark.parametrize("directions", [1, 2])
def test_dimacs(directions, tmp_path):
    """Some files have each edge in both directions, and count them so or once."""
    edges = [(1, 2), (2, 3), (1, 4)]
    lines = [f"e {i} {j}\n" for i, j in edges + [(j, i) for i, j in edges][: 3 * (directions - 1)]]
    for count in {3, len(lines)}:
        (tmp_path / "file.col").write_text(f"c a path\np edge 4 {count}\n{''.join(lines)}")
        file = qama_jax.read_problem(tmp_path / "file.col", graph=True)
        for state in oracle.all_states(4):
            assert file.objective(state) == sum(state[i - 1] != state[j - 1] for i, j in edges)
    with pytest.raises(ValueError, match="does not say what to solve"):
        qama_jax.read_problem(tmp_path / "file.col")


def test_a_matrix_without_a_diagonal_is_a_qubo_if_named(tmp_path):
    np.save(tmp_path / "file.npy", CUT)
    file = qama_jax.read_problem(tmp_path / "file.npy", "npy")
    states = oracle.all_states(4)
    np.testing.assert_array_equal(file.objective(states), np.einsum("ri,ij,rj->r", states, CUT, states))


def test_matrices_of_kaiwu(tmp_path):
    """With the energies that the SDK's matrices have, an auxiliary spin last."""
    qubo = np.array([[-1.0, 2.0, 0.5], [0.0, 3.0, -4.0], [0.0, 0.0, 1.0]])
    matrix, constant = qubo_to_kaiwu(qubo)
    np.savetxt(tmp_path / "file.csv", matrix, delimiter=",")
    file = qama_jax.read_problem(tmp_path / "file.csv", "kaiwu")
    for bits in oracle.all_states(3):
        found = file.objective(np.append(bits, 1)), file.objective(np.append(1 - bits, 0))
        np.testing.assert_allclose(found, bits @ qubo @ bits - constant)
    with pytest.raises(ValueError, match="may be of format csv or kaiwu"):
        qama_jax.read_problem(tmp_path / "file.csv")


def test_many_edges_take_little_memory(tmp_path):
    """Peak of the reading, the dense matrix of the problem apart; the words of every line took 550 bytes an edge."""
    size = 400
    rows, columns = np.triu_indices(size, 1)
    edges = np.column_stack([rows + 1, columns + 1, np.where((rows + columns) % 3, 1, -1)])
    np.savetxt(tmp_path / "file", edges, "%d", header=f"{size} {len(edges)}", comments="")
    tracemalloc.start()
    try:
        file = qama_jax.read_problem(tmp_path / "file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.problem.shape == (size,)
    assert peak < 250 * len(edges) + 4 * 8 * size**2


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
        ("p qubo 0 2 1 1\n0 0 1\n", "has 1 entries, but 1 nodes and 1 couplers"),
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
        ("3 2\n0 2 1\n0 1 2\n", "may be of format rudy or qubist"),
        ("9 2\n1 2 1\n2 3 2\n", "may be of format rudy or qubist"),
        ("p edge 3 1\ne 1 2\n", "is a graph of DIMACS"),
        ("3 2\n1 3 1\n", "ends after 1 of 2 entries"),
        ("3 2\n1 3 1\n2 x 1\n", "line 3: expected"),
        ("max: 3 x + 2 y;\n", "of no known format"),
        ("1,2\n3\n", "line 2: expected 2 numbers with commas, got 1"),
        ("1,2\n3,x\n", "line 2: expected a number, got 'x'"),
        (",a,b\na,1,2\nb,2,1\n", "of no known format"),
        ("h\n0 1\nJ\n0 1 2\n", r"biases h and J of spins by dimod\.BinaryQuadraticModel\.from_ising"),
        ("Minimize\n obj: a + b\nSubject To\n c0: a + b >= 1\nBinary\n a b\nEnd\n", "has 1 constraints"),
        ("Minimize\n obj: a + b\nGeneral\n a b\nEnd\n", "the variable a is not binary"),
        ("Minimize\n obj: a + b\nBounds\n a = 1\nBinary\n a b\nEnd\n", "the variable a is fixed by its bounds"),
        (json.dumps(BQPJSON | {"scale": -1.0}), "scale at least 0"),
        (json.dumps(BQPJSON | {"version": "0.2.0"}), "version '0.2.0'; only '0.1.0' is read"),
        (json.dumps(BQPJSON | {"variable_ids": [1, 3]}), "does not follow bqpjson's schema"),
        (json.dumps(BQPJSON | {"linear_terms": [{"id": 1, "coeff": 1}] * 2}), "listed once"),
        ("c offset : nan\np qubo 0 1 1 0\n0 0 1\n", "line 1: the weight is nan"),
        ("%%MatrixMarket matrix array real general\n2 3\n1\n1\n1\n1\n1\n1\n", "must be square"),
        ("%%MatrixMarket matrix nonsense\n", "not a matrix in MatrixMarket's format"),
        ('{"type": "other"}', "holds no binary quadratic model"),
        ("DIMODBQM\x02\x00", "holds no binary quadratic model"),
        ("PK\x03\x04", "holds no sparse matrix"),
    ],
)
def test_errors(tmp_path, text, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=message):
        qama_jax.read_problem(tmp_path / "file")


def huge():
    return qama_jax.Qubo.from_edges([0], [1], [2**70 + 1])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: qama_jax.write_problem(qubo(), path, "mps"), "format must be one of rudy, biqmac"),
        (lambda path: qama_jax.write_problem(cut(), path, "dimacs"), "format must be one of rudy, biqmac"),
        (lambda path: qama_jax.write_problem(ising(), path, "kaiwu"), "'kaiwu' holds no linear term"),
        (lambda path: qama_jax.write_problem(ising(offset=1.0), path, "qubist"), "'qubist' holds no offset"),
        (lambda path: qama_jax.write_problem(qubo(), path, "lp", labels=["1", "b", "c", "d"]), "names of LP"),
        (lambda path: qama_jax.write_problem(qubo(), path, "bqpjson", labels="abcd"), "labels other than indices"),
        (lambda path: qama_jax.write_problem(qubo(), path, "qplib", labels=["a b", "b", "c", "d"]), "than words"),
        (lambda path: qama_jax.write_problem(huge(), path, "npy"), "'npy' holds no integer beyond 53 bits"),
        (lambda path: qama_jax.write_problem(huge(), path, "bqm"), "'bqm' holds no integer beyond 53 bits"),
        (lambda path: qama_jax.write_problem(huge(), path, "lp"), "'lp' holds no integer beyond 53 bits"),
        (lambda path: qama_jax.write_problem(huge(), path, "biqmac"), "half of 1180591620717411303425 is not a float"),
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


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("p qubo 0 1 1 0\n0 0 1\n", None, "format qbsolv, which holds no graph"),
        ("# vartype=SPIN\n0 1 1\n", "coo", "format coo, which holds no graph, as rudy, edge-list, dimacs"),
        ("0,1\n2,0\n", "csv", "not symmetric, of a directed graph"),
        ("1,1\n1,0\n", "csv", "vertex 0 has an edge to itself"),
        ("0 1\n1 0\n", "edge-list", "line 2: 1 0 is listed a second time"),
        ("0 1\n-1 2\n", "edge-list", "line 2: -1 2 is out of range; indices must not be negative"),
        ("2 1\n1 3\n", None, "may be of format rudy or edge-list"),
        ("3 2\n1 2 1\n", None, "ends after 1 of 2 entries"),
        ("p edge 3 2\ne 1 2\n", "dimacs", "has 1 edges of 2"),
        ("p edge 3 1\ne 1 4\n", "dimacs", "line 2: 1 4 is out of range"),
        ("p edge 3 1\nn 1 5\ne 1 2\n", "dimacs", "line 2: expected `e i j`, got 'n 1 5'"),
        ("p edge 3 1\ne 1 2 7\n", "dimacs", "line 2: expected `e i j`"),
    ],
)
def test_errors_of_graphs(tmp_path, text, form, message):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=message):
        qama_jax.read_problem(tmp_path / "file", form, graph=True)
