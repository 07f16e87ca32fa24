"""NumPy, SciPy and dimod: what comes in and goes out keeps every energy."""

import dataclasses
import doctest
import importlib
import sys
import unittest

import dimod
import dimod.testing
import jax
import numpy as np
import oracle
import pytest
import scipy.sparse
from enumeration import energies
from jax.experimental.sparse import BCOO

import qama_jax
import qama_jax.dimod
from qama_jax.dimod import DimodSampler
from qama_jax.solvers.base import _solve

pytestmark = pytest.mark.usefixtures("strict")

LABELS = ["a", ("b", 1), 7, 0, "e", frozenset("f")]


def random_model(vartype, dtype=np.float64, labels=LABELS):
    """With irregular labels, a variable without any bias, and numbers that float32 cannot hold."""
    rng = np.random.default_rng(0)
    model = dimod.BinaryQuadraticModel(vartype, dtype=dtype)
    for variable in labels:
        model.add_variable(variable)
    for index, variable in enumerate(labels[:-1]):
        model.add_linear(variable, float(rng.normal()))
        for other in labels[:index:2]:
            model.add_quadratic(variable, other, float(rng.normal()))
    model.offset = 1.7
    return model


def all_samples(model):
    states = oracle.all_states(model.num_variables)
    return states, ((2 * states - 1 if model.vartype is dimod.SPIN else states), model.variables)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, object], ids=["float64", "float32", "object"])
@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
class TestConversions:
    def test_from_bqm_keeps_every_energy(self, vartype, dtype):
        model = random_model(vartype, dtype)
        states, samples = all_samples(model)
        expected = dimod.BinaryQuadraticModel(model, dtype=np.float64).energies(samples)
        qubo = qama_jax.Qubo.from_bqm(model)
        assert qubo.dtype == np.float32
        np.testing.assert_allclose(energies(qubo, states), expected, atol=1e-5)
        np.testing.assert_allclose(energies(qubo.to_ising(), states), expected, atol=1e-5)

    def test_and_exactly_with_x64(self, vartype, dtype):
        model = random_model(vartype, dtype)
        states, samples = all_samples(model)
        expected = dimod.BinaryQuadraticModel(model, dtype=np.float64).energies(samples)
        with jax.enable_x64(True):
            qubo = qama_jax.Qubo.from_bqm(model)
            assert qubo.dtype == np.float64
            np.testing.assert_allclose(energies(qubo, states), expected, atol=1e-13)

    def test_to_bqm_keeps_every_energy(self, vartype, dtype):
        original = random_model(vartype, dtype)
        qubo = qama_jax.Qubo.from_bqm(original)
        model = qubo.to_bqm(labels=original.variables)
        assert model.vartype is dimod.BINARY
        assert model.dtype == np.float64
        assert list(model.variables) == list(original.variables)
        assert model.num_interactions == original.num_interactions
        states = oracle.all_states(6)
        np.testing.assert_allclose(model.energies((states, LABELS)), energies(qubo, states), atol=1e-5)
        assert list(qubo.to_bqm().variables) == list(range(6))


def test_integer_models_are_exact():
    states = oracle.all_states(5)
    matrix = np.random.default_rng(0).integers(-1000, 1000, (5, 5))
    model = dimod.BinaryQuadraticModel(dict(enumerate(matrix[0])), dict(np.ndenumerate(np.triu(matrix, 1))), 3, "SPIN")
    expected = model.energies((2 * states - 1, range(5)))
    qubo = qama_jax.Qubo.from_bqm(model)
    np.testing.assert_array_equal(energies(qubo, states), expected)
    np.testing.assert_array_equal(qubo.to_bqm().energies((states, range(5))), expected)


SPARSE = [kind + suffix for kind in ("csr", "csc", "coo", "lil", "dok") for suffix in ("_array", "_matrix")]


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_sparse_is_as_dense(kind, dtype):
    dense = np.array([[1, 2, 0], [0, -1, 0], [0, 3, 0]], dtype)
    sparse = getattr(scipy.sparse, kind)(dense)
    np.testing.assert_array_equal(qama_jax.Qubo(sparse).matrix, qama_jax.Qubo(dense).matrix)
    ising, expected = qama_jax.Ising(sparse, dense[0]), qama_jax.Ising(dense, dense[0])
    np.testing.assert_array_equal(ising.couplings, expected.couplings)
    np.testing.assert_array_equal(ising.biases, expected.biases)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qama_jax.Qubo.from_bqm(np.eye(2)), "bqm must be a dimod.BinaryQuadraticModel, got ndarray"),
        (lambda: qama_jax.Qubo.from_bqm(dimod.BinaryQuadraticModel("SPIN")), "bqm must have at least one variable"),
        (lambda: qama_jax.Qubo(np.eye(2)).to_bqm(["a"]), "labels must be 2 different ones, got 1"),
        (lambda: qama_jax.Qubo(np.eye(2)).to_bqm(["a", "a"]), "labels must be 2 different ones, got 2 with 1"),
        (lambda: qama_jax.Qubo(scipy.sparse.csr_array((2, 3))), "matrix must be square"),
        (lambda: qama_jax.Qubo(BCOO.fromdense(jax.numpy.eye(2))), r"got BCOO; pass matrix\.todense\(\)"),
        (lambda: qama_jax.Ising(BCOO.fromdense(jax.numpy.eye(2))), r"got BCOO; pass couplings\.todense\(\)"),
        (lambda: qama_jax.Ising(np.eye(2), BCOO.fromdense(jax.numpy.ones(2))), r"got BCOO; pass biases\.todense"),
        (lambda: qama_jax.Qubo(dimod.BinaryPolynomial({"abc": 1}, "SPIN")), r"qama_jax\.Qubo\.from_bqm\(model\)"),
        (lambda: qama_jax.Qubo.from_bqm(dimod.BinaryPolynomial({"abc": 1}, "SPIN")), "make_quadratic"),
        (lambda: qama_jax.Qubo.from_bqm(dimod.QuadraticModel()), r"model\.linear, model\.quadratic"),
        (lambda: qama_jax.Qubo(scipy.sparse.eye_array(2, dtype=complex)), "matrix must be real"),
    ],
)
def test_conversion_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_named_conversions_work():
    """What the errors above say to pass."""
    model = dimod.ConstrainedQuadraticModel()
    a, b = dimod.Binaries("ab")
    model.set_objective(a - 3 * a * b + 2)
    objective = model.objective
    bqm = dimod.BinaryQuadraticModel(objective.linear, objective.quadratic, objective.offset, "BINARY")
    assert qama_jax.Qubo.from_bqm(bqm).exact_energy([1, 1]) == 0
    matrix = BCOO.fromdense(jax.numpy.array([[1.0, -3.0], [0.0, 0.0]]))
    converted = scipy.sparse.coo_array((matrix.data, matrix.indices.T), matrix.shape)
    for given in (matrix.todense(), converted):
        assert qama_jax.Qubo(given).exact_energy([1, 1]) == -2


def test_without_dimod_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dimod", None)
    remedy = r"pip install 'qama-jax\[dimod\]'"
    with pytest.raises(ImportError, match=remedy):
        qama_jax.Qubo.from_bqm(None)
    with pytest.raises(ImportError, match=remedy):
        qama_jax.Qubo(np.eye(2)).to_bqm()
    monkeypatch.delitem(sys.modules, "qama_jax.dimod")
    with pytest.raises(ImportError, match=remedy):
        importlib.import_module("qama_jax.dimod")


class ExhaustiveSampler(DimodSampler):
    def __init__(self):
        super().__init__(qama_jax.Exhaustive())


@pytest.mark.parametrize("sampler", [DimodSampler, ExhaustiveSampler])
class TestConformance:
    def test_sampler_api(self, sampler):
        dimod.testing.assert_sampler_api(sampler())

    def test_dimod_sampler_suite(self, sampler):
        @dimod.testing.load_sampler_bqm_tests(sampler)
        class Suite(unittest.TestCase):
            pass

        result = unittest.defaultTestLoader.loadTestsFromTestCase(Suite).run(unittest.TestResult())
        assert result.testsRun >= 16
        assert not result.failures + result.errors

    @pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, object], ids=["float64", "float32", "object"])
    def test_energies_vartype_and_variables(self, sampler, vartype, dtype):
        model = random_model(vartype, dtype)
        sampleset = sampler().sample(model, seed=0)
        assert sampleset.vartype is model.vartype
        assert set(sampleset.variables) == set(LABELS)
        # A Float32BQM rounds in its own `energies`; the sample set has them in float64.
        dimod.testing.assert_response_energies(sampleset, dimod.BinaryQuadraticModel(model, dtype=np.float64), 12)
        lowest = model.energies(all_samples(model)[1]).min()
        np.testing.assert_allclose(sampleset.first.energy, lowest, rtol=1e-5)

    @pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
    def test_no_variables_and_one(self, sampler, vartype):
        empty = sampler().sample(dimod.BinaryQuadraticModel({}, {}, 1.5, vartype))
        assert empty.record.sample.shape == (sampler().solver.num_reads, 0)
        assert set(empty.record.energy) == {1.5}
        single = sampler().sample(dimod.BinaryQuadraticModel({"x": -1.0}, {}, 0.0, vartype))
        assert single.first.sample == {"x": 1}


def test_seeds():
    model = random_model("SPIN", labels=list(range(40)))
    sampler = DimodSampler(qama_jax.SimulatedBifurcation(num_reads=4, num_steps=2, max_descent_steps=0))
    first, again, other = (sampler.sample(model, seed=seed) for seed in (0, np.int64(0), 1))
    np.testing.assert_array_equal(first.record.sample, again.record.sample)
    assert not np.array_equal(first.record.sample, other.record.sample)
    fresh = sampler.sample(model)
    assert fresh.info["solver"] == repr(sampler.solver) == sampler.properties["solver"]
    assert fresh.info["seed"] != sampler.sample(model).info["seed"]
    repeated = sampler.sample(model, seed=fresh.info["seed"])
    np.testing.assert_array_equal(repeated.record.sample, fresh.record.sample)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e19, 1e300])
def test_models_of_any_scale(scale):
    """The lowest state is that of the model, whose energies are dimod's, in float64."""
    model = random_model("SPIN")
    lowest = model.energies(all_samples(model)[1]).min()
    model.scale(scale)
    sampleset = DimodSampler(qama_jax.Exhaustive()).sample(model)
    np.testing.assert_allclose(sampleset.first.energy, lowest * scale, rtol=1e-6)


def test_models_of_similar_size_compile_once():
    """Energies are those of the models, and a warm start of descent stays a start of theirs."""
    sampler = DimodSampler(qama_jax.SteepestDescent())
    sampler.sample(random_model("SPIN", labels=list(range(20))), initial_states=np.ones(20, int))
    durations = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for size in (21, 27, 32):
            model = random_model("SPIN", labels=list(range(size)))
            sampleset = sampler.sample(model, initial_states=np.ones(size, int))
            assert sampleset.record.sample.shape == (1, size)
            assert sampleset.first.energy <= model.energy({i: 1 for i in range(size)})
        assert durations == []
        sampler.sample(random_model("SPIN", labels=list(range(33))), initial_states=np.ones(33, int))
        assert durations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_num_reads_replaces_that_of_the_solver():
    sampler = DimodSampler(qama_jax.SimulatedBifurcation(num_steps=10))
    model = random_model("BINARY")
    assert len(sampler.sample(model)) == 1
    sampleset = sampler.sample(model, num_reads=5)
    assert len(sampleset) == 5
    assert "num_reads=5" in sampleset.info["solver"]
    assert len(sampler.sample_qubo({(0, 1): 1.0}, num_reads=np.int64(3))) == 3


@dataclasses.dataclass(frozen=True)
class Stay:
    """Ends where it starts."""

    num_reads: int = 2

    def sample(self, key, problem, initial_bits):
        return initial_bits, {}


def test_initial_states_are_where_the_solver_starts():
    model = random_model("SPIN")
    states = [dict(zip(LABELS, spins, strict=True)) for spins in ([1, -1, 1, 1, -1, -1], [-1, -1, 1, -1, -1, 1])]
    sampleset = DimodSampler(Stay()).sample(model, initial_states=[dict(reversed(s.items())) for s in states])
    assert list(sampleset.samples(sorted_by=None)) == states
    sampleset = DimodSampler(Stay()).sample(model, initial_states=states[0])
    assert list(sampleset.samples(sorted_by=None)) == [states[0]] * 2


def test_equal_sizes_compile_once():
    sampler = DimodSampler()
    labels = list(range(13))
    sampler.sample(random_model("SPIN", labels=labels))
    before = _solve._cache_size()
    sampler.sample(random_model("BINARY", np.float32, labels=labels[::-1]))
    assert _solve._cache_size() == before


def test_unknown_arguments_warn_as_dimod_has_it():
    with pytest.warns(dimod.exceptions.SamplerUnknownArgWarning, match="num_sweeps"):
        DimodSampler().sample(random_model("SPIN"), num_sweeps=10)
    assert set(DimodSampler().parameters) == {"num_reads", "seed", "initial_states"}
    assert "num_reads" not in ExhaustiveSampler().parameters


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: DimodSampler(qama_jax.Exhaustive), "solver must be an instance"),
        (lambda model: DimodSampler("exhaustive"), "solver must be an instance"),
        (lambda model: ExhaustiveSampler().sample(model, num_reads=2), "num_reads is not a setting of Exhaustive"),
        (lambda model: DimodSampler().sample(model, num_reads=0), "num_reads must be"),
        (lambda model: DimodSampler().sample(model, seed=-1), "seed must be an integer between"),
        (lambda model: DimodSampler().sample(model, seed=2**32), "seed must be an integer between"),
        (lambda model: DimodSampler().sample(model, seed=1.0), "seed must be an integer between"),
        (lambda model: DimodSampler().sample(model, initial_states={"a": 1}), "a value for each variable"),
        (lambda model: DimodSampler().sample(dimod.ConstrainedQuadraticModel()), r"dimod\.cqm_to_bqm\(cqm\)"),
        (lambda model: DimodSampler().sample(dimod.DiscreteQuadraticModel()), r"ConstrainedQuadraticModel\.from_dqm"),
        (
            lambda model: DimodSampler().sample(dimod.ConstrainedQuadraticModel().objective),
            r"got ObjectiveView; .*BinaryQuadraticModel\(model\.linear, model\.quadratic, model\.offset, 'BINARY'\)",
        ),
        (lambda model: DimodSampler().sample(dimod.QuadraticModel()), "got QuadraticModel; .*model.linear"),
        (
            lambda model: DimodSampler().sample(dimod.BinaryPolynomial({"abc": 1}, "BINARY")),
            "got BinaryPolynomial; lower its degree by `dimod.make_quadratic",
        ),
        (lambda model: DimodSampler().sample({("a", "b"): 1}), r"got dict; pass .*from_qubo\(Q\)"),
        (lambda model: DimodSampler().sample(np.eye(2)), r"got ndarray; .*qama_jax\.Qubo\(matrix\)\.to_bqm\(\)"),
        (
            lambda model: DimodSampler().sample(dimod.BinaryQuadraticModel({"a": np.nan}, {}, 0, "SPIN")),
            "linear bias nan at the variable 'a'",
        ),
        (
            lambda model: DimodSampler().sample(dimod.BinaryQuadraticModel({}, {("a", "b"): np.inf}, 0, "SPIN")),
            r"quadratic bias inf at the variables \('a', 'b'\)|\('b', 'a'\)",
        ),
        (lambda model: DimodSampler().sample(model, initial_states=dict.fromkeys(LABELS, 0)), "vartype SPIN"),
        (
            lambda model: DimodSampler().sample(model, initial_states=[dict.fromkeys(LABELS, 1)] * 3),
            "one or 8, got 3; pass num_reads=3",
        ),
    ],
)
def test_sampler_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_model("SPIN"))


@pytest.mark.parametrize("documented", [qama_jax.Qubo.from_bqm, DimodSampler])
def test_examples_run(documented):
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, documented.__qualname__, globs={"jax": jax})
    result = doctest.DocTestRunner().run(example)
    assert result.attempted > 0
    assert result.failed == 0
