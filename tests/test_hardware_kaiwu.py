"""The Kaiwu SDK: its conventions, its constructors, and an SDK in another interpreter."""

import sys
import textwrap

import dimod
import jax
import numpy as np
import oracle
import pytest
from enumeration import lowest_energy

import qama_jax
from qama_jax.hardware import (
    HardwareError,
    InterpreterBridge,
    KaiwuBackend,
    Machine,
    TaskRunner,
    kaiwu_bits,
    kaiwu_energies,
    kaiwu_matrix,
    make_kaiwu_optimizer,
    qubo_to_kaiwu,
)

pytestmark = pytest.mark.usefixtures("strict")

STATES = oracle.all_states(10)


def random_qubo(seed, n=10):
    return 100 * np.random.default_rng(seed).standard_normal((n, n))


def samples_of(states):
    """The states as spins with the auxiliary one last, every other row flipped as a whole."""
    spins = np.concatenate([2 * states - 1, np.ones((len(states), 1), np.int8)], axis=1)
    spins[::2] *= -1
    return spins


def lowest_samples(matrix, num_samples=5):
    """Enumerates `-sᵀ M s`, and gives the lowest unsorted, some flipped as a whole."""
    spins = 2 * oracle.all_states(len(matrix)) - 1.0
    energies = -np.einsum("ri,ij,rj->r", spins, matrix, spins)
    return spins[np.argsort(energies, kind="stable")[: 2 * num_samples : 2]][::-1]


class TestConversions:
    @pytest.mark.parametrize("triangular", [False, True])
    def test_every_energy_against_dimod(self, triangular):
        qubo = random_qubo(0)
        qubo = np.triu(qubo) if triangular else qubo
        matrix, constant = qubo_to_kaiwu(qubo)
        samples = samples_of(STATES)
        bits = kaiwu_bits(samples)
        np.testing.assert_array_equal(bits, STATES)
        expected = dimod.BinaryQuadraticModel.from_qubo(dict(np.ndenumerate(qubo))).energies((bits, range(10)))
        np.testing.assert_allclose(kaiwu_energies(matrix, samples) + constant, expected, rtol=0, atol=1e-9)

    def test_every_energy_against_kaiwu_community(self):
        core = pytest.importorskip("kaiwu").core
        qubo = random_qubo(1)
        matrix, constant = qubo_to_kaiwu(qubo)
        theirs, their_constant = core.qubo_matrix_to_ising_matrix(qubo.copy())
        np.testing.assert_allclose(matrix, theirs, rtol=0, atol=1e-12)
        np.testing.assert_allclose(constant, their_constant, rtol=0, atol=1e-12)
        samples = samples_of(STATES)
        solutions, energies = core.get_sorted_solutions(theirs, samples, their_constant)
        expected = [core.calculate_qubo_value(qubo, 0, row) for row in kaiwu_bits(solutions)]
        np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-9)
        ours = kaiwu_energies(matrix, samples) + constant
        np.testing.assert_allclose(np.sort(ours), energies, rtol=0, atol=1e-9)
        direct = [core.calculate_qubo_value(qubo, 0, row) for row in kaiwu_bits(samples)]
        np.testing.assert_allclose(ours, direct, rtol=0, atol=1e-9)

    def test_ising(self):
        rng = np.random.default_rng(2)
        couplings, biases = rng.standard_normal((10, 10)), rng.standard_normal(10)
        couplings = np.triu(couplings, 1) + np.triu(couplings, 1).T
        spins = 2 * STATES - 1.0
        expected = -np.einsum("ri,ij,rj->r", spins, couplings, spins) / 2 - spins @ biases
        matrix = kaiwu_matrix(couplings + np.eye(10), biases)
        np.testing.assert_allclose(kaiwu_energies(matrix, samples_of(STATES)), expected, rtol=0, atol=1e-9)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: qubo_to_kaiwu(np.ones((2, 3))), "qubo must be square"),
            (lambda: kaiwu_matrix(np.ones((2, 2)), np.ones(3)), "couplings must be"),
            (lambda: kaiwu_matrix(np.triu(np.ones((2, 2))), np.ones(2)), "couplings must be symmetric"),
            (lambda: kaiwu_bits(np.zeros((1, 3))), "spins must be -1 and"),
        ],
    )
    def test_errors_name_the_argument(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class Optimizer:
    """Like one of the SDK: pending for a while."""

    def __init__(self, pending=0, solve=lowest_samples):
        self.pending = pending
        self.matrices = []
        self.answer = solve

    def solve(self, ising_matrix):
        self.matrices.append(ising_matrix)
        return None if len(self.matrices) <= self.pending else self.answer(ising_matrix)


class TestBackend:
    def test_real_couplings_keep_the_energies_of_the_sdk(self):
        optimizer = Optimizer()
        qubo = random_qubo(3, 6)
        backend = KaiwuBackend(optimizer, machine=Machine(coupling_bits=None, auxiliary_spins=1))
        solution = qama_jax.solve(jax.random.key(0), qama_jax.Qubo(qubo), qama_jax.CimSolver(backend, num_reads=3))
        (matrix,) = optimizer.matrices
        np.testing.assert_allclose(matrix, qubo_to_kaiwu(qubo)[0], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(solution.energy, lowest_energy(qama_jax.Qubo(qubo)), rtol=1e-5)
        assert len(np.unique(solution.read_energies)) == 3

    def test_eight_bits_stay_integers(self):
        optimizer = Optimizer()
        qubo = qama_jax.Qubo(random_qubo(4, 6))
        solution = qama_jax.solve(jax.random.key(0), qubo, qama_jax.CimSolver(KaiwuBackend(optimizer)))
        (matrix,) = optimizer.matrices
        assert matrix.dtype == np.float64
        np.testing.assert_array_equal(matrix, np.round(matrix))
        assert np.abs(matrix).max() == 127
        assert solution.energy <= 0.98 * lowest_energy(qubo)

    def test_an_optimizer_on_their_base_class(self):
        kaiwu = pytest.importorskip("kaiwu")

        class Enumerating(kaiwu.core.IsingSolver):
            def _solve(self, ising_matrix=None):
                return lowest_samples(ising_matrix)

        problem = qama_jax.Qubo(random_qubo(5, 6))
        backend = KaiwuBackend(Enumerating(), machine=Machine(coupling_bits=None, auxiliary_spins=1))
        solution = qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(backend))
        np.testing.assert_allclose(solution.energy, lowest_energy(problem), rtol=1e-5)

    def test_pending_tasks_are_asked_for_again(self):
        optimizer = Optimizer(pending=3)
        backend = KaiwuBackend(optimizer, poll_interval_s=0.01)
        qama_jax.solve(jax.random.key(0), qama_jax.Qubo(random_qubo(6, 4)), qama_jax.CimSolver(backend))
        assert len(optimizer.matrices) == 4
        assert all(np.array_equal(matrix, optimizer.matrices[0]) for matrix in optimizer.matrices)

    def test_but_not_forever(self):
        backend = KaiwuBackend(Optimizer(pending=1000), poll_interval_s=0.01, timeout_s=0.1)
        problem = qama_jax.Qubo(random_qubo(6, 4))
        message = r"KaiwuBackend\(Optimizer\) failed on problem 0 of 1, of . spins.*pending for timeout_s=0.1 seconds"
        with pytest.raises(jax.errors.JaxRuntimeError, match=message):
            jax.block_until_ready(qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(backend)))

    def test_packed(self):
        optimizer = Optimizer()
        matrices = np.stack([random_qubo(seed, 3) for seed in range(4)])
        backend = KaiwuBackend(optimizer, machine=Machine(num_spins=8, coupling_bits=None, auxiliary_spins=1))
        solver = qama_jax.CimSolver(TaskRunner(backend))
        keys = jax.random.split(jax.random.key(0), 4)
        solve = jax.vmap(lambda key, matrix: qama_jax.solve(key, qama_jax.Qubo(matrix), solver).energy)
        expected = [lowest_energy(qama_jax.Qubo(matrix)) for matrix in matrices]
        np.testing.assert_allclose(solve(keys, matrices.astype(np.float32)), expected, rtol=1e-5)
        assert [len(matrix) for matrix in optimizer.matrices] == [8, 8]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: KaiwuBackend(Optimizer), "optimizer must be an instance with solve"),
            (lambda: KaiwuBackend(3), "optimizer must be an instance with solve"),
            (lambda: KaiwuBackend(Optimizer(), machine=Machine(auxiliary_spins=0)), "auxiliary_spins must not be 0"),
            (lambda: KaiwuBackend(Optimizer(), poll_interval_s=0), "poll_interval_s must be positive"),
        ],
    )
    def test_errors_name_the_argument(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class Old:
    """As in SDK 1.1."""

    def __init__(self, user_id, sdk_code, task_name, wait=False, interval=1, project_no=None):
        self.given = dict(locals())


class New:
    """As in SDK 1.4."""

    def __init__(self, task_name_prefix, wait=False, interval=1, project_no=None, task_mode="quota", sample_number=10):
        self.given = dict(locals())


class Asking(Old):
    def __init__(self, user_id, sdk_code, task_name):
        input("user id: ")


@pytest.fixture
def licence(monkeypatch):
    monkeypatch.setenv("KAIWU_USER_ID", "from the environment")
    monkeypatch.setenv("KAIWU_SDK_CODE", "code")


@pytest.fixture
def no_licence(monkeypatch):
    monkeypatch.delenv("KAIWU_USER_ID", raising=False)
    monkeypatch.delenv("KAIWU_SDK_CODE", raising=False)


class TestFactory:
    def test_old_spelling(self, licence):
        given = make_kaiwu_optimizer(Old, task_name="qama", wait=True, interval=2, project_no="p").given
        assert (given["task_name"], given["wait"], given["interval"], given["project_no"]) == ("qama", True, 2, "p")
        assert (given["user_id"], given["sdk_code"]) == ("from the environment", "code")
        assert make_kaiwu_optimizer(Old, task_name="q", user_id="u", sdk_code="c").given["user_id"] == "u"

    def test_new_spelling(self, licence):
        calls = []
        settings = {"task_mode": "optimization", "sample_number": 20}
        optimizer = make_kaiwu_optimizer(
            New, task_name="qama", init_licence=lambda **given: calls.append(given), **settings
        )
        assert optimizer.given["task_name_prefix"] == "qama"
        assert settings.items() <= optimizer.given.items()
        assert calls == [{"user_id": "from the environment", "sdk_code": "code"}]

    def test_saved_licence(self, no_licence):
        assert make_kaiwu_optimizer(New, task_name="qama", saved_licence=True).given["task_name_prefix"] == "qama"

    @pytest.mark.parametrize("optimizer_class", [Old, New])
    def test_without_a_licence_it_raises_before_anything_asks(self, optimizer_class, no_licence):
        with pytest.raises(ValueError, match="KAIWU_USER_ID and KAIWU_SDK_CODE"):
            make_kaiwu_optimizer(optimizer_class, task_name="qama")

    def test_nothing_waits_for_input(self, licence):
        stdin = sys.stdin
        with pytest.raises(ValueError, match="Asking asked for a licence: the one it has is not valid"):
            make_kaiwu_optimizer(Asking, task_name="qama")
        assert sys.stdin is stdin

    @pytest.mark.parametrize(
        ("optimizer_class", "settings", "message"),
        [
            (Old, {"sample_number": 10}, "sample_number: cannot be honoured by Old, which takes user_id"),
            (New, {"machine_name": "x", "saved_licence": True}, "machine_name: cannot be honoured by New"),
            (New, {}, "init_licence is needed: New takes no user_id"),
            (Old, {"task_mode": "fast"}, "task_mode must be 'quota' or 'optimization', got 'fast'"),
            (Old, {"interval": 0}, "interval must be an integer of at least 1, in minutes, got 0"),
            (Old, {"interval": 0.5}, "interval must be an integer of at least 1, in minutes, got 0.5"),
            (New, {"sample_number": 0}, "sample_number must be an integer of at least 1"),
        ],
    )
    def test_what_cannot_be_honoured_is_refused(self, licence, optimizer_class, settings, message):
        with pytest.raises(ValueError, match=message):
            make_kaiwu_optimizer(optimizer_class, task_name="qama", **settings)


def bridge(tmp_path, body, **options):
    """To a stand-in for the SDK's script, in another process of this interpreter."""
    script = tmp_path / "script.py"
    head = "import json, os, sys, time\nimport numpy as np\nsettings, matrix, spins = sys.argv[1:]\n"
    script.write_text(head + textwrap.dedent(body))
    return InterpreterBridge(sys.executable, {"task_name": "qama"}, script=script, **options)


def matrix_of(n):
    return qubo_to_kaiwu(random_qubo(7, n))[0]


class TestBridge:
    def test_arrays_go_there_and_back(self, tmp_path):
        body = """
            matrix = np.load(matrix, allow_pickle=False)
            assert json.load(open(settings)) == {"task_name": "qama"}
            assert sys.stdin.read() == ""
            np.save(spins, np.sign(matrix[:2] + 0.5))
        """
        matrix = matrix_of(4)
        np.testing.assert_array_equal(bridge(tmp_path, body).solve(matrix), np.sign(matrix[:2] + 0.5))

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("print('no licence', file=sys.stderr); sys.exit(3)", "script.py failed with status 3.*no licence"),
            ("raise KeyError('queue')", "failed with status 1.*KeyError: 'queue'"),
            ("print('half way', flush=True); time.sleep(60)", "killed after timeout_s=5 seconds.*half way"),
            ("pass", r"wrote no spins.npy; its output ends with: \(nothing\)"),
            ("np.save(spins, np.array([{}]), allow_pickle=True)", "that is not an array.*allow_pickle=False"),
            ("open(spins, 'w').write('?')", "that is not an array"),
        ],
    )
    def test_failures_tell_what_the_process_said(self, tmp_path, body, message):
        with pytest.raises(HardwareError, match=f"(?s){message}"):
            bridge(tmp_path, body, timeout_s=5 if "sleep" in body else 60).solve(matrix_of(4))

    def test_settings_are_checked(self):
        with pytest.raises(ValueError, match="settings must have no credentials"):
            InterpreterBridge("python3.10", {"task_name": "qama", "sdk_code": "secret"})
        with pytest.raises(ValueError, match="timeout_s must be positive"):
            InterpreterBridge("python3.10", {"task_name": "qama"}, timeout_s=0)
        with pytest.raises(HardwareError, match=r"no-such-python .* could not be started"):
            InterpreterBridge("no-such-python", {"task_name": "qama"}).solve(matrix_of(2))

    def test_the_script_of_the_sdk(self, tmp_path, monkeypatch, licence):
        """From a jitted solve to an SDK of the same shape in another process."""
        package = tmp_path / "kaiwu"
        package.mkdir()
        (package / "__init__.py").write_text(
            textwrap.dedent(
                """
                import itertools, os
                import numpy as np

                class common:
                    class CheckpointManager:
                        save_dir = None

                class license:
                    initialised = None

                    def init(user_id, sdk_code):
                        license.initialised = user_id, sdk_code

                class cim:
                    class CIMOptimizer:
                        def __init__(self, task_name_prefix, wait=False, sample_number=10):
                            assert license.initialised == ("from the environment", "code")
                            assert os.path.isdir(common.CheckpointManager.save_dir)
                            assert (task_name_prefix, wait) == ("qama", True)
                            self.sample_number = sample_number

                        def solve(self, matrix):
                            spins = np.array(list(itertools.product((-1, 1), repeat=len(matrix))))
                            energies = -np.einsum("ri,ij,rj->r", spins, matrix, spins)
                            return spins[np.argsort(energies)[: self.sample_number]]
                """
            )
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        settings = {"task_name": "qama", "wait": True, "sample_number": 4, "checkpoint_dir": str(tmp_path)}
        backend = KaiwuBackend(
            InterpreterBridge(sys.executable, settings), machine=Machine(coupling_bits=None, auxiliary_spins=1)
        )
        problem = qama_jax.Qubo(random_qubo(8, 6))
        solution = qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(backend, num_reads=4))
        np.testing.assert_allclose(solution.energy, lowest_energy(problem), rtol=1e-5)
        with pytest.raises(jax.errors.JaxRuntimeError, match="4 reads, fewer than num_reads=5"):
            jax.block_until_ready(qama_jax.solve(jax.random.key(0), problem, qama_jax.CimSolver(backend, num_reads=5)))
