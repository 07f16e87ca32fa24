"""Machines behind a host callback: one call a batch, the same answers as enumeration, faults that say what to do."""

import doctest
import os
import subprocess
import sys

import dimod
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from enumeration import lowest_energy
from flax import nnx

import qama_jax
from qama_jax import hardware
from qama_jax.hardware import CallableBackend, DimodBackend, Machine

pytestmark = pytest.mark.usefixtures("strict")

UNLIMITED = Machine(num_spins=None, coupling_bits=None, auxiliary_spins=0)
MACHINES = {
    "linear terms": UNLIMITED,
    "couplings alone": Machine(num_spins=20, coupling_bits=None, auxiliary_spins=1),
    "16 bits, auxiliary spins": Machine(num_spins=16, coupling_bits=16),
}


def enumerate_lowest(couplings, biases, num_reads):
    """The lowest states, in plain NumPy; highest first, as machines sort nothing."""
    spins = 2 * oracle.all_states(len(biases)) - 1
    spins = spins.astype(np.float64)
    energies = -np.einsum("ri,ij,rj->r", spins, couplings.astype(np.float64), spins) / 2 - spins @ biases
    return spins[np.argsort(energies)[:num_reads]][::-1]


class Recorder:
    """Counts the calls, and how many problems each one brought."""

    name = "Recorder"

    def __init__(self, function=enumerate_lowest, machine=UNLIMITED):
        self.function = function
        self.machine = machine
        self.batches = []

    def sample(self, problems, num_reads):
        self.batches.append(problems)
        return [self.function(problem.couplings, problem.biases, num_reads) for problem in problems]


def random_problem(seed, kind="qubo", n=8):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, n)).astype(np.float32)
    if kind == "qubo":
        return qama_jax.Qubo(matrix, 0.5)
    if kind == "ising":
        return qama_jax.Ising(matrix, matrix[0])
    inputs = rng.standard_normal((3, 4, 2, 3)).astype(np.float32)
    return qama_jax.attention_hamiltonian(*inputs, np.ones(3, np.float32), mask=np.arange(4) != 1)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("kind", ["qubo", "ising", "attention"])
def test_the_optimum_comes_back_through_every_machine(kind, machine):
    problem = random_problem(0, kind)
    solver = qama_jax.CimSolver(CallableBackend(enumerate_lowest, machine), num_reads=3)
    solution = qama_jax.solve(jax.random.key(0), problem, solver)
    np.testing.assert_allclose(solution.energy, lowest_energy(problem), rtol=1e-5)
    assert solution.reads.shape == (3, *problem.shape)
    assert solution.bits.dtype == jnp.int8
    for read, energy in zip(solution.reads, solution.read_energies, strict=True):
        np.testing.assert_allclose(energy, problem.energy(read), rtol=1e-5)
    assert set(solution.info) == {"solve_seconds", "host_seconds"}
    assert 0 < solution.info["solve_seconds"] <= solution.info["host_seconds"]


def stacked(seeds, **options):
    problems = [random_problem(seed, **options) for seed in seeds]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems), problems


class TestOneCall:
    def test_a_vmapped_batch_of_64_inside_jit(self):
        backend = Recorder(machine=Machine(num_spins=14))
        solver = qama_jax.CimSolver(backend)
        batch, problems = stacked(range(64))
        keys = jax.random.split(jax.random.key(0), 64)
        solve = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver)))
        solutions = jax.block_until_ready(solve(keys, batch))
        (sent,) = backend.batches
        assert len(sent) == 64
        # Slots for auxiliary spins that a problem does not use are not sent.
        assert {problem.num_spins for problem in sent} < set(range(9, 15))
        assert len({problem.seed for problem in sent}) == 64
        assert all(problem.couplings.dtype == np.int8 for problem in sent)
        gaps = [float(energy - lowest_energy(p)) for energy, p in zip(solutions.energy, problems, strict=True)]
        assert min(gaps) > -1e-4
        assert np.median(gaps) < 1e-4  # 8 bits may turn the optimum of a problem into another state
        jax.block_until_ready(solve(keys, batch))
        assert len(backend.batches) == 2
        assert solve._cache_size() == 1

    def test_nested_batches_and_shared_problems(self):
        backend = Recorder()
        solver = qama_jax.CimSolver(backend)
        batch, problems = stacked(range(3))
        keys = jax.random.split(jax.random.key(0), (2, 3))
        inner = jax.vmap(qama_jax.solve, in_axes=(0, 0, None))
        solutions = jax.vmap(inner, in_axes=(0, None, None))(keys, batch, solver)
        assert [len(sent) for sent in backend.batches] == [6]
        expected = [lowest_energy(problem) for problem in problems]
        np.testing.assert_allclose(solutions.energy, [expected, expected], rtol=1e-5)

    def test_of_a_layer_with_its_gradient(self):
        backend = Recorder()
        inputs = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 4, 2, 3)), jnp.float32)

        def loss(inputs, solver):
            features, _ = qama_jax.qama_attention(*inputs, jnp.ones(3), rng=jax.random.key(0), solver=solver)
            return jnp.sum(features**2)

        gradient = jax.jit(jax.grad(loss), static_argnums=1)(inputs, qama_jax.CimSolver(backend))
        assert [len(sent) for sent in backend.batches] == [2]
        # The optimum is unique, so that enumeration on the device selects the same, and so has the same gradient.
        expected = jax.jit(jax.grad(loss), static_argnums=1)(inputs, qama_jax.Exhaustive())
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(gradient).max() > 0


def test_a_layer_trains():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        solver = qama_jax.CimSolver(Recorder(machine=Machine()))
        layer = qama_jax.QAMAAttention(
            num_heads=2, in_features=4, solver=solver, decode=False, rngs=nnx.Rngs(0, anneal=1)
        )
        x = jax.random.normal(jax.random.key(0), (2, 4, 4))
        gradient = nnx.jit(nnx.grad(lambda layer, x: jnp.sum(layer(x) ** 2)))(layer, x)
    leaves = jax.tree.leaves(gradient)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any(np.abs(leaf).max() > 0 for leaf in leaves)


def test_more_rows_than_reads_keeps_the_lowest():
    problem = random_problem(0)
    everything = Recorder(lambda couplings, biases, num_reads: enumerate_lowest(couplings, biases, 256))
    reads = qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(everything, num_reads=5)).read_energies
    states = oracle.all_states(8)
    expected = np.sort(np.asarray(jax.vmap(problem.energy)(states)))[:5]
    np.testing.assert_allclose(reads, expected, rtol=1e-5)


def test_a_single_read_may_have_one_axis():
    def align(couplings, biases, num_reads):
        return enumerate_lowest(couplings, biases, 1)[0]

    problem = random_problem(0)
    # A function is a backend; equal ones make equal solvers, which compile once.
    assert hash(qama_jax.CimSolver(align)) == hash(qama_jax.CimSolver(align))
    assert qama_jax.CimSolver(align) == qama_jax.CimSolver(align)
    solution = qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(align))
    np.testing.assert_allclose(solution.energy, lowest_energy(problem), rtol=1e-5)


def broken(change):
    def function(couplings, biases, num_reads):
        return change(enumerate_lowest(couplings, biases, num_reads))

    return function


def raise_error(spins):
    raise ConnectionError("the cloud is down")


def with_nan(spins):
    spins[1, 2] = np.nan
    return spins


FAULTS = {
    "raises": (raise_error, "ConnectionError: the cloud is down.*TaskRunner"),
    "None": (lambda spins: None, "with None; wait"),
    "short": (lambda spins: spins[:1], r"1 reads, fewer than num_reads=2; ask the machine for more"),
    "wrong shape": (lambda spins: spins[:, :-1], r"shape \(2, 7\); expected \[reads, 8\]"),
    "three axes": (lambda spins: spins[None], r"shape \(1, 2, 8\); expected \[reads, 8\]"),
    "bits": (lambda spins: (spins + 1) / 2, r"bits 0 and 1, to be converted by 2 bits - 1"),
    "NaN": (with_nan, "NaN; expected spins -1 and"),
    "other values": (lambda spins: 3 * spins, "values from -3.0 to 3.0; expected spins -1"),
    "strings": (lambda spins: spins.astype(str), "values of type <U"),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_backend_problem_and_remedy(change, message, jit):
    solver = qama_jax.CimSolver(broken(change), num_reads=2)

    def solve(key):
        return qama_jax.solve(key, random_problem(0), solver)

    with pytest.raises(
        jax.errors.JaxRuntimeError, match=rf"(?s)HardwareError: CallableBackend\(function\).*8 spins.*{message}"
    ):
        jax.block_until_ready((jax.jit(solve) if jit else solve)(jax.random.key(0)))


def test_a_fault_in_a_batch_names_the_problem():
    batch, _ = stacked(range(3))

    def fails_on_the_last(couplings, biases, num_reads, seen=[]):  # noqa: B006
        seen.append(biases)
        return enumerate_lowest(couplings, biases, num_reads) if len(seen) < 3 else None

    solve = jax.vmap(qama_jax.solve, in_axes=(0, 0, None))
    keys = jax.random.split(jax.random.key(0), 3)
    with pytest.raises(jax.errors.JaxRuntimeError, match="problem 2 of 3, of 8 spins, with None"):
        jax.block_until_ready(solve(keys, batch, qama_jax.CimSolver(fails_on_the_last)))
    backend = Recorder()
    backend.sample = lambda problems, num_reads: []
    with pytest.raises(jax.errors.JaxRuntimeError, match="Recorder gave 0 answers for 3 problems"):
        jax.block_until_ready(solve(keys, batch, qama_jax.CimSolver(backend)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qama_jax.CimSolver("machine"), "backend must be a backend such as"),
        (lambda: qama_jax.CimSolver(Recorder), "backend must be a backend such as"),
        (lambda: qama_jax.CimSolver(Recorder(), num_reads=0), "num_reads must be an integer >= 1"),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), random_problem(0), qama_jax.CimSolver(Recorder()), initial_bits=np.zeros(8, int)
            ),
            "initial_bits cannot be honoured",
        ),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), random_problem(0), qama_jax.CimSolver(Recorder(machine=Machine(num_spins=8)))
            ),
            r"8 \+ 1 auxiliary = 9 spins, but the machine has num_spins=8",
        ),
        (lambda: DimodBackend(dimod.ExactSolver), "sampler must be an instance of dimod.Sampler"),
        (lambda: DimodBackend(dimod.RandomSampler(), sweeps=1), "sweeps: no parameter of RandomSampler, which takes"),
        (lambda: DimodBackend(dimod.RandomSampler(), num_reads=1), "num_reads is the solver's"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_on_a_single_core_a_large_batch_is_refused_instead_of_waiting_forever():
    script = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, numpy as np, qama_jax
solver = qama_jax.CimSolver(lambda couplings, biases, num_reads: np.ones((num_reads, len(biases))))
solve = jax.jit(jax.vmap(lambda key, matrix: qama_jax.solve(key, qama_jax.Qubo(matrix), solver).energy))
matrices = np.random.default_rng(0).standard_normal((16, 120, 120)).astype(np.float32)
try:
    jax.block_until_ready(solve(jax.random.split(jax.random.key(0), 16), matrices))
    print("solved")
except jax.errors.JaxRuntimeError as error:
    print("NPROC=2" in str(error))
"""
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert run.stdout.strip() == "True"


class TestDimod:
    def test_exact_solver_agrees_with_enumeration(self):
        problem = random_problem(1, "ising")
        solver = qama_jax.CimSolver(DimodBackend(dimod.ExactSolver()), num_reads=4)
        solution = qama_jax.solve(jax.random.key(0), problem, solver)
        np.testing.assert_allclose(solution.energy, lowest_energy(problem), rtol=1e-5)
        states = np.sort(np.asarray(jax.vmap(problem.energy)(oracle.all_states(8))))
        np.testing.assert_allclose(solution.read_energies, states[:4], rtol=1e-5)

    def test_rows_counted_together_are_repeated_and_columns_put_in_order(self):
        class Counting(dimod.Sampler):
            parameters = {}  # noqa: RUF012
            properties = {}  # noqa: RUF012

            def sample(self, bqm):
                lowest = dimod.ExactSolver().sample(bqm).first.sample
                labels = list(bqm.variables)[::-1]
                row = [(1 + lowest[label]) // 2 for label in labels]
                return dimod.SampleSet.from_samples(([row], labels), "BINARY", energy=[0.0], num_occurrences=[3])

        problem = random_problem(2, "ising")
        solution = qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(DimodBackend(Counting()), num_reads=3))
        np.testing.assert_allclose(solution.read_energies, [lowest_energy(problem)] * 3, rtol=1e-5)

    def test_dwave_samplers(self):
        samplers = pytest.importorskip("dwave.samplers")
        backend = DimodBackend(samplers.SimulatedAnnealingSampler(), num_sweeps=100)
        assert "num_sweeps=100" in backend.name
        solver = qama_jax.CimSolver(backend, num_reads=10)
        batch, problems = stacked(range(4), kind="attention")
        keys = jax.random.split(jax.random.key(0), 4)
        solve = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver)))
        solutions, again, other = solve(keys, batch), solve(keys, batch), solve(keys[::-1], batch)
        np.testing.assert_allclose(solutions.energy, [lowest_energy(p) for p in problems], rtol=1e-5)
        np.testing.assert_array_equal(solutions.reads, again.reads)  # seeded by the key
        assert not np.array_equal(solutions.reads, other.reads)

    def test_without_dimod_the_remedy_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dimod", None)
        with pytest.raises(ImportError, match=r"pip install 'qama-jax\[dimod\]'"):
            DimodBackend(None)


@pytest.mark.parametrize("documented", [hardware.CallableBackend, hardware.TaskRunner, hardware.InterpreterBridge])
def test_examples_run(documented):
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, documented.__name__, globs={"jax": jax})
    result = doctest.DocTestRunner().run(example)
    assert result.attempted > 0
    assert result.failed == 0
