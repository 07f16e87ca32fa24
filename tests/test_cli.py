"""The command: what it prints, and that bad input is one line and exit code 2."""

import dataclasses
import gzip
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dimod
import jax
import numpy as np
import pytest

import qama_jax
from qama_jax import cli
from qama_jax.cli.cache import keep_programs, user_cache
from qama_jax.cli.solvers import SOLVERS

pytestmark = pytest.mark.usefixtures("strict")

ROOT = Path(__file__).parent.parent
BIFURCATION = ("--solver", "simulated-bifurcation")
TRIANGLE = "3 3\n1 2 1\n2 3 2\n1 3 -1\n"


@pytest.fixture
def triangle(tmp_path):
    path = tmp_path / "triangle.rudy"
    path.write_text(TRIANGLE)
    return path


def without_cache(arguments):
    """No programs in the user's cache, and no setting of JAX for the other tests."""
    return [*map(str, arguments), *(["--no-cache"] if arguments and arguments[0] == "solve" else [])]


@pytest.fixture
def run(capsys):
    def run(*arguments):
        cli.main(without_cache(arguments))
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def fail(capsys):
    def fail(*arguments):
        with pytest.raises(SystemExit) as caught:
            cli.main(without_cache(arguments))
        out, err = capsys.readouterr()
        assert caught.value.code == 2
        assert out == ""
        return err

    return fail


def test_max_cut(run, triangle):
    report = json.loads(run("solve", triangle, *BIFURCATION, "--reads", 5, "--seed", 3))
    assert report["energy"] == -3.0
    assert report["cut"] == 3.0
    assert report["bits"] in ([0, 1, 0], [1, 0, 1])
    assert len(report["read_energies"]) == 5
    assert report["seed"] == 3
    assert report["solver"] == repr(qama_jax.SimulatedBifurcation(num_reads=5))
    assert report["seconds"].keys() == {"compile", "run", "to_best"}
    assert report["stopped"] == "calls"
    assert report["versions"] == {"qama-jax": importlib.metadata.version("qama-jax"), "jax": jax.__version__}
    assert report["device"]["platform"] == jax.default_backend()
    assert (report["format"], report["num_bits"]) == ("rudy", 3)


def test_qubo_of_biqmac_and_its_exact_solution(run, tmp_path):
    path = tmp_path / "small.sparse"
    path.write_text("# comment\n2 3\n1 1 -1\n2 2 -4\n1 2 2\n")
    report = json.loads(run("solve", path, "--solver", "exhaustive", "--seed", 0))
    assert (report["energy"], report["bits"], report["read_energies"]) == (-4.0, [0, 1], [-4.0])
    assert "cut" not in report


def test_graph_of_a_matrix(run, tmp_path):
    """An adjacency matrix has the energy 0 at all zeros as a QUBO; as a graph, its largest cut."""
    np.save(tmp_path / "square.npy", [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    report = json.loads(run("solve", tmp_path / "square.npy", "--graph", "--solver", "exhaustive"))
    assert (report["cut"], report["energy"], report["format"]) == (4, -4, "npy")
    assert report["bits"] in ([0, 1, 0, 1], [1, 0, 1, 0])
    report = json.loads(run("solve", tmp_path / "square.npy", "--format", "npy", "--solver", "exhaustive"))
    assert report["energy"] == 0
    assert "cut" not in report


def test_ising_problem_of_qubist(run, tmp_path):
    path = tmp_path / "ising.txt"
    path.write_text("6 4\n1 1 1.3\n5 5 -0.7\n1 3 -0.2\n1 5 1.5\n")
    report = json.loads(run("solve", path, "--format", "qubist", "--solver", "exhaustive"))
    np.testing.assert_allclose(report["energy"], -3.7)
    assert [report["bits"][place] for place in (1, 3, 5)] == [0, 0, 1]


def test_matrix_and_output_file(run, tmp_path):
    """The result is that of `solve` with the seed's key."""
    matrix = np.random.default_rng(0).normal(size=(30, 30))
    np.save(tmp_path / "matrix.npy", matrix)
    output = tmp_path / "result.json"
    settings = ["--set", "num_steps=7", "--set", "num_reads=4", "--set", "initial_amplitude=0.5"]
    arguments = [*BIFURCATION, *settings, "--seed", 5, "--output", output]
    assert run("solve", tmp_path / "matrix.npy", *arguments) == ""
    report = json.loads(output.read_text())
    solver = qama_jax.SimulatedBifurcation(num_steps=7, num_reads=4, initial_amplitude=0.5)
    solution = qama_jax.solve(jax.random.key(5), qama_jax.Qubo(matrix), solver)
    np.testing.assert_allclose(report["read_energies"], solution.read_energies, rtol=1e-5)
    np.testing.assert_array_equal(report["bits"], solution.bits)
    assert report["solver"] == repr(solver)


def test_many_reads_are_as_many_as_asked_for(run, tmp_path):
    """In several calls of equal size, each with its own randomness, the surplus dropped."""
    matrix = np.random.default_rng(0).normal(size=(60, 60))
    np.save(tmp_path / "matrix.npy", matrix)
    settings = [*BIFURCATION, "--set", "num_steps=2", "--set", "max_descent_steps=0"]
    reports = [
        json.loads(run("solve", tmp_path / "matrix.npy", *settings, "--reads", 35, "--seed", seed))
        for seed in (1, 1, 2)
    ]
    first, again, other = (report["read_energies"] for report in reports)
    assert len(first) == len(set(first)) == 35
    assert first == again
    assert first != other
    assert reports[0]["energy"] == min(first)
    x = np.array(reports[0]["bits"])
    np.testing.assert_allclose(reports[0]["energy"], x @ matrix @ x, rtol=1e-4)


def test_fresh_seeds_are_reported(run, triangle):
    first, second = (json.loads(run("solve", triangle))["seed"] for _ in range(2))
    assert first != second


def test_limits_end_the_search(run, triangle):
    reached = json.loads(run("solve", triangle, "--target", "3", "--seed", 0))
    assert (reached["stopped"], reached["cut"], reached["call_energies"]) == ("target", 3, [-3])
    timed = json.loads(run("solve", triangle, "--time-limit", "0.2s", "--seed", 0))
    assert timed["stopped"] == "time"
    assert 0 < timed["seconds"]["to_best"] <= timed["seconds"]["run"]
    assert set(timed["call_energies"]) == {-3}


def test_within_limits_the_search_chooses_its_solver(run, triangle, monkeypatch):
    """Nothing else does, whose choice would be thrown away."""
    monkeypatch.delattr("qama_jax.cli.solvers.auto_solver")
    assert json.loads(run("solve", triangle, "--target", "3", "--seed", 0))["cut"] == 3


def test_largest_energy_of_a_qubo(run, tmp_path):
    """The other end of the spectrum, in the signs of the file."""
    matrix = np.random.default_rng(0).integers(-9, 10, (6, 6))
    np.save(tmp_path / "matrix.npy", matrix)
    states = (np.arange(64)[:, None] >> np.arange(6)) & 1
    energies = np.einsum("si,ij,sj->s", states, matrix, states)
    largest = json.loads(run("solve", tmp_path / "matrix.npy", "--maximize", "--seed", 0))
    assert (largest["objective"], largest["energy"]) == (energies.max(), -energies.max())
    bits = np.array(largest["bits"])
    assert bits @ matrix @ bits == energies.max()
    smallest = json.loads(run("solve", tmp_path / "matrix.npy", "--seed", 0))
    assert smallest["energy"] == energies.min()


def test_distinct_states_with_their_counts(run, triangle):
    report = json.loads(run("solve", triangle, "--solver", "steepest-descent", "--reads", 40, "--states", "--seed", 0))
    states = report["states"]
    assert sum(state["count"] for state in states) == 40
    assert len({tuple(state["bits"]) for state in states}) == len(states) > 1
    energies = [state["energy"] for state in states]
    assert energies == sorted(energies)
    assert sorted(report["read_energies"]) == sorted(
        energy for state in states for energy in [state["energy"]] * state["count"]
    )
    for state in states:
        a, b, c = (2 * bit - 1 for bit in state["bits"])
        assert state["energy"] == ((a * b - 1) + 2 * (b * c - 1) - (a * c - 1)) / 2


def test_energies_of_large_weights_are_exact(run, tmp_path):
    """Beyond what float32 holds: those of the bits, in integers."""
    weights = np.random.default_rng(0).integers(1, 2_000_000, 45)
    pairs = [(i, j) for i in range(1, 11) for j in range(i + 1, 11)]
    path = tmp_path / "large.rud"
    path.write_text("10 45\n" + "".join(f"{i} {j} {w}\n" for (i, j), w in zip(pairs, weights, strict=True)))
    report = json.loads(run("solve", path, "--seed", 0))
    bits = report["bits"]
    assert report["cut"] == sum(w for (i, j), w in zip(pairs, weights, strict=True) if bits[i - 1] != bits[j - 1])


def test_standard_input_and_compressed_files(run, tmp_path, monkeypatch):
    path = tmp_path / "triangle.txt.gz"
    path.write_bytes(gzip.compress(TRIANGLE.encode()))
    assert json.loads(run("solve", path, "--seed", 0))["cut"] == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TRIANGLE.encode())))
    assert json.loads(run("solve", "-", "--seed", 0))["cut"] == 3


def test_names_of_variables_are_kept(run, tmp_path):
    bqm = dimod.BinaryQuadraticModel({"sun": -1.0, "rain": 2.0}, {("sun", "rain"): -0.5}, 0.25, "BINARY")
    path = tmp_path / "weather.json"
    path.write_text(json.dumps(bqm.to_serializable()))
    report = json.loads(run("solve", path, "--seed", 0))
    assert dict(zip(report["labels"], report["bits"], strict=True)) == {"sun": 1, "rain": 0}
    assert report["energy"] == -0.75


def test_interrupt_prints_the_best_so_far(run, triangle, tmp_path, monkeypatch):
    """As Ctrl-C in the third call does."""
    calls = []

    def lowest_energy(problem):
        def interrupted(solution):
            calls.append(solution)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return problem.exact_energy(solution.bits)

        return interrupted

    monkeypatch.setattr("qama_jax.solvers.search._lowest_energy", lowest_energy)
    output = tmp_path / "result.json"
    arguments = ["--solver", "steepest-descent", "--time-limit", "1h", "--output", output]
    assert run("solve", triangle, *arguments) == ""
    report = json.loads(output.read_text())
    assert (report["stopped"], report["cut"], len(report["call_energies"])) == ("interrupt", 3, 2)


def test_interrupt_before_there_is_a_state(triangle, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("qama_jax.solvers.search._lowest_energy", lambda _: interrupted)
    with pytest.raises(SystemExit) as caught:
        cli.main(["solve", str(triangle), "--no-cache"])
    assert caught.value.code == 130
    assert "interrupted before there was a state" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"qama-jax {importlib.metadata.version('qama-jax')}\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar_only_on_a_terminal(run, triangle, monkeypatch):
    arguments = ["solve", str(triangle), "--solver", "steepest-descent", "--reads", "40"]
    run(*arguments)  # asserts that stderr stays empty
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    cli.main([*arguments, "--no-cache"])
    assert "best 3" in terminal.getvalue()


def test_every_solver_is_listed():
    solvers = [value for value in vars(qama_jax.solvers).values() if dataclasses.is_dataclass(value)]
    names = {solver for solver in solvers if hasattr(solver, "sample") and solver is not qama_jax.solvers.Solver}
    assert set(SOLVERS.values()) == names - {qama_jax.solvers.IterativeSolver}
    for name, solver in SOLVERS.items():
        assert solver.__name__ == "".join(part.capitalize() for part in name.split("-"))


def test_list_of_solvers(run):
    lines = dict(line.split(maxsplit=1) for line in run("solvers").splitlines())
    assert {"simulated-bifurcation", "exhaustive"} <= lines.keys()
    assert "suits" in lines.pop("auto")
    for name in lines:
        assert "".join(part.capitalize() for part in name.split("-")) in vars(qama_jax.solvers)
    assert "lowest" in lines["exhaustive"]


def test_settings_of_a_solver(run):
    settings = dict(line.split(" = ") for line in run("solvers", "simulated-bifurcation").splitlines())
    assert settings["num_steps"] == repr(qama_jax.SimulatedBifurcation().num_steps)
    assert settings["initial_amplitude"] == "None"
    assert "has no settings" in run("solvers", "exhaustive")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["solvers", "quantum"], "invalid choice: 'quantum'"),
        (["solve"], "the following arguments are required: file"),
        (["solve", "{file}", "--solver", "quantum"], "invalid choice: 'quantum'"),
        (["solve", "{file}", "--reads", "many"], "invalid int value: 'many'"),
        (["solve", "{file}", "--reads", "0"], "num_reads must be an integer >= 1"),
        (["solve", "{file}", *BIFURCATION, "--reads", "2", "--set", "num_reads=2"], "say the same"),
        (["solve", "{file}", *BIFURCATION, "--set", "num_steps=2", "--set", "num_steps=3"], "given twice"),
        (["solve", "{file}", "--solver", "exhaustive", "--reads", "2"], "exhaustive makes 1 by its nature"),
        (["solve", "{file}", "--set", "num_steps=2"], "name the solver whose setting it is by --solver"),
        (["solve", "{file}", "--time-limit", "0s"], "not a time above 0 such as 10s, 2m or 1h"),
        (["solve", "{file}", "--time-limit", "soon"], "not a time above 0 such as 10s, 2m or 1h"),
        (["solve", "{file}", "--target", "low"], "invalid float value: 'low'"),
        (["solve", "{file}", "--seed", "-1"], "seed must be an integer between 0"),
        (["solve", "{file}", *BIFURCATION, "--set", "steps=3"], "no setting 'steps'; it has num_steps, num_reads"),
        (["solve", "{file}", *BIFURCATION, "--set", "steps"], "expected NAME=VALUE"),
        (["solve", "{file}", *BIFURCATION, "--set", "num_steps=ten"], "write strings in quotes"),
        (["solve", "{file}", *BIFURCATION, "--set", "num_steps={{[]}}"], "not a Python literal"),
        (["solve", "{file}", *BIFURCATION, "--set", "num_steps=0"], "num_steps must be"),
        (["solve", "{file}", *BIFURCATION, "--set", "time_step='fast'"], "time_step must be a Python number"),
        (["solve", "{file}", "--format", "npy"], "is not a .npy file"),
        (["solve", "{file}", "--format", "biqmac", "--output", "{folder}"], "name a file in an existing folder"),
        (["solve", "{file}", "--output", "{folder}/no/such"], "name a file in an existing folder"),
        (["solve", "{folder}/missing.rudy"], "No such file"),
        (["solve", "{folder}", "--format", "rudy"], "Is a directory"),
        (["solve", "{folder}", "--format", "npy"], "Is a directory"),
        (["solve", "{folder}/missing.txt"], "No such file"),
    ],
)
def test_bad_arguments(fail, triangle, arguments, message):
    err = fail(*(argument.format(file=triangle, folder=triangle.parent) for argument in arguments))
    assert message in err
    assert len([line for line in err.splitlines() if "error:" in line]) == 1


def save_archive(path):
    with path.open("wb") as file:
        np.savez(file, a=np.eye(2))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.rudy", lambda path: path.write_text("3 2\n1 2\n"), "truncated"),
        ("a.npy", lambda path: path.write_bytes(b""), "is of no known format"),
        ("a.npy", lambda path: path.write_bytes(b"PK\x03\x04"), "holds no sparse matrix"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3))), "matrix must be square"),
        ("a.npy", lambda path: np.save(path, np.zeros(3)), "has an array of shape (3,); its matrix must be square"),
        ("a.npy", lambda path: np.save(path, np.eye(2) - 1), "pass graph=True (--graph) for the largest cut"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 2), complex)), "matrix must be real"),
        ("a.npy", lambda path: np.save(path, np.array(["a"])), "does not hold one array of numbers"),
        ("a.npy", lambda path: np.save(path, np.array([{}], object)), "is not a .npy file"),
        ("a.npy", lambda path: np.save(path, np.full((2, 2), np.nan)), "matrix[0, 0] is nan"),
        ("a.npy", save_archive, "holds no sparse matrix"),
        ("a.sparse", lambda path: path.write_text("1 1\n1 1 -1e300\n"), "overflow float32"),
    ],
)
def test_bad_files(fail, tmp_path, name, write, message):
    write(tmp_path / name)
    err = fail("solve", tmp_path / name, "--seed", 0)
    assert message in err
    assert str(tmp_path / name) in err
    assert "vmap" not in err
    assert err.count("\n") == 1


def test_too_many_bits_for_the_solver(fail, tmp_path):
    np.save(tmp_path / "large.npy", np.eye(30))
    assert "at most 24 bits" in fail("solve", tmp_path / "large.npy", "--solver", "exhaustive")


def test_as_a_process(triangle, tmp_path):
    """As the script that pip writes calls it; nothing is kept where that is said."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["qama-jax"].split(":")
    command = [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"]

    def solve(seed):
        arguments = [*command, "solve", triangle, "--no-cache", "--seed", seed]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment)

    done = solve("0")
    assert done.returncode == 0
    assert json.loads(done.stdout)["cut"] == 3.0
    assert not (tmp_path / "cache").exists()
    failed = solve("x")
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


def test_compiled_programs_are_kept(triangle, tmp_path):
    """In the user's cache, where nothing else is said."""
    command = (Path(sys.executable).with_name("qama-jax"), "solve", triangle, "--seed", "1")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)

    def solve():
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        assert done.stderr == b""
        return json.loads(done.stdout)

    first = solve()
    kept = {path.name for path in (tmp_path / "qama-jax").iterdir() if path.name.endswith("-cache")}
    assert kept
    again = solve()
    assert again["bits"] == first["bits"]
    assert {path.name for path in (tmp_path / "qama-jax").iterdir() if path.name.endswith("-cache")} == kept


def test_where_programs_are_kept(tmp_path, monkeypatch):
    """The folder that is named; else the user's cache, or none where that cannot be written."""
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    monkeypatch.setitem(jax.config.values, "jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_programs(tmp_path / "mine")
    assert updates["jax_compilation_cache_dir"] == str(tmp_path / "mine")
    keep_programs(None)
    assert updates["jax_compilation_cache_dir"] == str(user_cache())
    assert user_cache().is_dir()
    updates.clear()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs(None)
    assert updates == {}


def test_folder_of_programs_that_is_a_file(triangle, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["solve", str(triangle), "--compilation-cache", str(triangle)])
    assert caught.value.code == 2
    assert "--compilation-cache" in capsys.readouterr().err
