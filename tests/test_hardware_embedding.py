"""What a machine does to a problem: embedding, rounding and the simulated machine, against enumeration in float64."""

import dataclasses
import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from enumeration import lowest_energy
from flax import nnx

import qama_jax
from experiments import hardware
from experiments.look import hamiltonians
from experiments.reproduce.queue import Places
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from qama_jax.hardware import (
    CimSolver,
    Embedding,
    Machine,
    SimulatedBackend,
    SimulatedMachine,
    TaskRunner,
    decode,
    embed,
    rounded_problem,
    rounding_loss,
    rounding_report,
)

pytestmark = pytest.mark.usefixtures("strict")

AUXILIARY = (0, 1, 3, None)


def random_ising(seed, n=6, bias_scale=5.0):
    """Linear terms a few times stronger than couplings, as in attention problems."""
    rng = np.random.default_rng(seed)
    couplings = np.triu(rng.standard_normal((n, n)), 1)
    biases = bias_scale * rng.standard_normal(n)
    return qama_jax.Ising((couplings + couplings.T).astype(np.float32), biases.astype(np.float32), 0.75)


def random_attention(seed, heads=2, tokens=6, head_dim=4):
    inputs = np.random.default_rng(seed).standard_normal((3, tokens, heads, head_dim)).astype(np.float32)
    return qama_jax.attention_hamiltonian(*inputs, np.ones(head_dim, np.float32))


def stack(problems):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)


def energies_of(couplings, biases, spins):
    couplings, biases, spins = (np.asarray(array, np.float64) for array in (couplings, biases, spins))
    return -np.einsum("ri,ij,rj->r", spins, couplings, spins) / 2 - spins @ biases


def all_spins(n):
    return 2 * oracle.all_states(n) - 1


def lowest_energies(batch):
    return np.array([lowest_energy(jax.tree.map(lambda leaf, i=i: leaf[i], batch)) for i in range(len(batch.linear))])


def machine_energies(embedding, spins):
    """Energies with all auxiliary spins at +1, the constant of the ties left out."""
    slots = embedding.couplings.shape[0] - spins.shape[1]
    whole = np.concatenate([spins, np.ones((len(spins), slots), int)], axis=1)
    ties = np.asarray(embedding.couplings, np.float64)[spins.shape[1] :, spins.shape[1] :]
    return energies_of(embedding.couplings, embedding.biases, whole) + ties.sum() / 2


def assert_has_ground_state(bits, embedding):
    """One of the reads is a ground state of what the machine minimises."""
    lowest = machine_energies(embedding, all_spins(bits.shape[1])).min()
    np.testing.assert_allclose(machine_energies(embedding, 2 * bits - 1).min(), lowest, rtol=1e-5)


class TestEmbedding:
    @pytest.mark.parametrize("auxiliary_spins", AUXILIARY)
    def test_keeps_all_energies_up_to_rounding(self, auxiliary_spins):
        problem, spins = random_ising(0), all_spins(6)
        embedding = embed(problem, Machine(auxiliary_spins=auxiliary_spins))
        exact = float(embedding.scale) * energies_of(problem.couplings, problem.biases, spins)
        errors = np.abs(machine_energies(embedding, spins) - exact)
        # Each of 15 couplings and 6 linear terms is wrong by half a step at most.
        assert 0 < errors.max() <= (15 + 6) / 2
        assert np.abs(exact).max() > 100

    @pytest.mark.parametrize("auxiliary_spins", AUXILIARY)
    def test_of_real_couplings_is_exact(self, auxiliary_spins):
        problem, spins = random_ising(0), all_spins(6)
        embedding = embed(problem, Machine(coupling_bits=None, auxiliary_spins=auxiliary_spins))
        assert embedding.couplings.dtype == problem.dtype
        assert embedding.scale == 1
        exact = energies_of(problem.couplings, problem.biases, spins)
        np.testing.assert_allclose(machine_energies(embedding, spins), exact, rtol=1e-5, atol=1e-5)
        energies = np.asarray(jax.vmap(problem.energy)(oracle.all_states(6)))
        np.testing.assert_allclose(energies - 0.75, exact, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("bits", [2, 8, 16, 24])
    @pytest.mark.parametrize("auxiliary_spins", [1, 3, None])
    def test_shares_add_up_to_the_rounded_linear_terms(self, auxiliary_spins, bits):
        problem = random_ising(1)
        embedding = embed(problem, Machine(coupling_bits=bits, auxiliary_spins=auxiliary_spins))
        couplings, limit = np.asarray(embedding.couplings), 2 ** (bits - 1) - 1
        used, scale = int(embedding.num_auxiliary), np.float32(embedding.scale)
        assert couplings.dtype == {2: np.int8, 8: np.int8, 16: np.int16, 24: np.int32}[bits]
        assert np.abs(couplings.astype(np.int64)).max() == limit
        np.testing.assert_array_equal(couplings, couplings.T)
        assert not couplings.diagonal().any()
        shares = couplings[:6, 6 : 6 + used].astype(np.int64)
        np.testing.assert_array_equal(shares.sum(1), np.round(scale * np.asarray(problem.biases)))
        assert np.ptp(shares, axis=1).max() <= 1
        ties = couplings[6 : 6 + used, 6 : 6 + used]
        np.testing.assert_array_equal(ties, limit * (1 - np.eye(used, dtype=int)))
        assert not couplings[6 + used :].any()
        assert not np.asarray(embedding.biases).any()

    def test_takes_the_fewest_auxiliary_spins_that_free_the_scale(self):
        problem = random_ising(1)
        ratio = np.abs(problem.biases).max() / np.abs(problem.couplings).max()
        embedding = embed(problem, Machine())
        assert int(embedding.num_auxiliary) == int(np.ceil(ratio)) > 2
        np.testing.assert_allclose(embedding.scale, 127 / np.abs(problem.couplings).max(), rtol=1e-6)
        assert embed(problem, Machine(auxiliary_spins=int(np.ceil(ratio)) - 1)).scale < embedding.scale
        # No more than are left: two, where the problem takes all others.
        few = embed(problem, Machine(num_spins=8))
        assert int(few.num_auxiliary) == 2
        assert few.couplings.shape == (8, 8)
        assert int(embed(random_ising(1, bias_scale=0.1), Machine()).num_auxiliary) == 1

    @pytest.mark.parametrize("bits", [8, None])
    def test_auxiliary_spins_agree_in_every_ground_state(self, bits):
        for seed in range(5):
            problem = random_ising(seed)
            embedding = embed(problem, Machine(auxiliary_spins=3, coupling_bits=bits))
            spins = all_spins(9)
            energies = energies_of(embedding.couplings, embedding.biases, spins)
            np.testing.assert_allclose(energies, energies[::-1], atol=1e-4)  # all spins flipped
            ground = spins[energies <= energies.min() + 1e-4]
            assert len(ground) >= 2
            assert (np.abs(ground[:, 6:].sum(1)) == 3).all()

    def test_a_problem_without_energies(self):
        zero = qama_jax.Ising(np.zeros((3, 3), np.float32))
        embedding = embed(zero, Machine(auxiliary_spins=2))
        couplings = np.asarray(embedding.couplings)
        assert not couplings[:3].any()
        assert couplings[3, 4] == 127
        assert np.isfinite(embedding.scale)
        solution = qama_jax.solve(jax.random.key(0), zero, SimulatedMachine())
        assert solution.energy == 0
        report = rounding_report(zero, Machine())
        assert (report.zeroed_share, report.levels, report.num_auxiliary) == (0, 1, 1)

    def test_batches_are_the_same_as_one_by_one(self):
        problems = [random_ising(seed, bias_scale=1.0 + 2 * seed) for seed in range(4)]
        machine = Machine(num_spins=20)
        batch = jax.jit(jax.vmap(lambda problem: embed(problem, machine)))(stack(problems))
        assert len(set(batch.num_auxiliary.tolist())) > 1
        for index, problem in enumerate(problems):
            for whole, single in zip(batch, embed(problem, machine), strict=True):
                np.testing.assert_array_equal(whole[index], single)

    def test_every_form_of_a_problem_is_the_same_to_a_machine(self):
        hamiltonian = random_attention(0)
        qubo = hamiltonian.to_qubo()
        machine = Machine(num_spins=30, coupling_bits=None)
        embeddings = [embed(problem, machine) for problem in (hamiltonian, qubo, qubo.to_ising())]
        for other in embeddings[1:]:
            np.testing.assert_allclose(embeddings[0].couplings, other.couplings, rtol=1e-5, atol=1e-5)
        # Its bits are those of the attention problem, head-major.
        states = oracle.all_states(12)[:: 2**12 // 64]
        expected = jax.vmap(hamiltonian.energy)(states.reshape(-1, 2, 6))
        energies = machine_energies(embeddings[0], 2 * states - 1)
        np.testing.assert_allclose(energies - energies[0], expected - expected[0], rtol=1e-4, atol=1e-3)


class TestDecode:
    def test_the_majority_of_the_auxiliary_spins_used_decides(self):
        embedding = Embedding(np.zeros((6, 6), np.int8), np.zeros(6, np.int8), jnp.int32(3), jnp.float32(1))
        #                 two spins, three auxiliary ones that are used, one that is not
        spins = np.array([[1, -1, 1, 1, -1, -1], [1, -1, -1, -1, 1, 1], [1, 1, -1, -1, -1, 1]], np.int8)
        decoded = decode(spins, embedding, 2)
        np.testing.assert_array_equal(decoded, [[1, -1], [-1, 1], [-1, -1]])
        assert decoded.dtype == jnp.int8

    def test_a_tie_is_decided_by_the_first(self):
        embedding = Embedding(np.zeros((4, 4), np.int8), np.zeros(4, np.int8), jnp.int32(2), jnp.float32(1))
        spins = np.array([[1, -1, 1, -1], [1, -1, -1, 1]], np.int8)
        np.testing.assert_array_equal(decode(spins, embedding, 2), [[1, -1], [-1, 1]])

    def test_without_auxiliary_spins_nothing_changes(self):
        problem = random_ising(0, n=3)
        spins = all_spins(3)
        np.testing.assert_array_equal(decode(spins, embed(problem, Machine(auxiliary_spins=0)), 3), spins)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: embed(random_ising(0), Machine(num_spins=8, auxiliary_spins=3)),
            r"6 \+ 3 auxiliary = 9 spins, .* num_spins=8; at most 2 auxiliary spins are left",
        ),
        (
            lambda: rounded_problem(random_attention(0), Machine(num_spins=12)),
            r"12 \+ 1 auxiliary = 13 spins, .* num_spins=12; take fewer heads or tokens",
        ),
        (
            lambda: qama_jax.solve(jax.random.key(0), random_ising(0), SimulatedMachine(Machine(num_spins=6))),
            r"6 \+ 1 auxiliary = 7 spins",
        ),
        (lambda: Machine(coupling_bits=1), "coupling_bits must be an integer >= 2, got 1"),
        (lambda: Machine(coupling_bits=25), "coupling_bits must be at most 24, got 25; pass None"),
        (lambda: Machine(auxiliary_spins=-1), "auxiliary_spins must be an integer >= 0"),
        (lambda: Machine(num_spins=0), "num_spins must be an integer >= 1"),
        (lambda: rounding_report(random_ising(0), Machine(coupling_bits=None)), "coupling_bits=None; pass the bits"),
        (lambda: SimulatedMachine("CPQC-550"), r"machine must be a qama_jax\.hardware\.Machine, got 'CPQC-550'"),
        (lambda: SimulatedMachine(coupling_noise=-0.1), "coupling_noise must not be negative, got -0.1"),
        (lambda: SimulatedMachine(num_reads=0), "num_reads must be an integer >= 1"),
        (lambda: SimulatedMachine(pump=()), "pump must be a function"),
        (lambda: SimulatedBackend(Machine()), "simulation must be a qama_jax.hardware.SimulatedMachine"),
        (
            lambda: qama_jax.solve(
                jax.random.key(0), random_ising(0), SimulatedMachine(), initial_bits=np.zeros(6, np.int8)
            ),
            "initial_bits cannot be honoured",
        ),
    ],
)
def test_errors_name_the_argument_and_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class TestRounding:
    @pytest.mark.parametrize("auxiliary_spins", AUXILIARY)
    def test_the_rounded_problem_is_what_the_machine_minimises(self, auxiliary_spins):
        problem, machine = random_ising(2), Machine(coupling_bits=4, auxiliary_spins=auxiliary_spins)
        embedding = embed(problem, machine)
        sent = machine_energies(embedding, all_spins(6)) / float(embedding.scale)
        energies = jax.vmap(rounded_problem(problem, machine).energy)(oracle.all_states(6))
        np.testing.assert_allclose(energies, sent + 0.75, rtol=1e-4, atol=1e-4)
        assert np.abs(energies - jax.vmap(problem.energy)(oracle.all_states(6))).max() > 0.1

    def test_real_couplings_are_not_rounded(self):
        problem = random_ising(2)
        rounded = rounded_problem(problem, Machine(coupling_bits=None))
        energies = (jax.vmap(p.energy)(oracle.all_states(6)) for p in (rounded, problem))
        np.testing.assert_allclose(*energies, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("auxiliary_spins", AUXILIARY)
    def test_report_counts(self, auxiliary_spins):
        problem, machine = random_ising(3), Machine(coupling_bits=4, auxiliary_spins=auxiliary_spins)
        couplings, biases = (np.asarray(array, np.float64) for array in (problem.couplings, problem.biases))
        used = {0: 1, None: np.ceil(np.abs(biases).max() / np.abs(couplings).max())}.get(
            auxiliary_spins, auxiliary_spins
        )
        scale = 7 / max(np.abs(couplings).max(), np.abs(biases).max() / used)
        rounded = np.round(scale * couplings[np.triu_indices(6, 1)])
        report = jax.jit(rounding_report, static_argnums=1)(problem, machine)
        np.testing.assert_allclose(report.scale, scale, rtol=1e-6)
        np.testing.assert_allclose(report.zeroed_share, np.mean(rounded == 0), rtol=1e-6)
        assert report.levels == len(set(rounded))
        assert int(report.num_auxiliary) == (used if auxiliary_spins != 0 else 0)

    def test_couplings_that_are_not_there_do_not_count_as_zeroed(self):
        chain = qama_jax.Ising(np.diag(np.ones(4, np.float32), 1) + np.diag(np.ones(4, np.float32), -1))
        report = rounding_report(chain, Machine())
        assert report.zeroed_share == 0
        assert report.levels == 2

    def test_loss_is_that_of_enumeration(self):
        machine = Machine(coupling_bits=3, auxiliary_spins=1)
        states = oracle.all_states(8)
        losses = []
        for seed in range(8):
            problem = random_ising(seed, n=8)
            energies = np.asarray(jax.vmap(problem.energy)(states))
            sent = machine_energies(embed(problem, machine), 2 * states - 1)
            expected = (energies[sent == sent.min()] - energies.min()) / np.abs(energies.min())
            lost = rounding_loss(jax.random.key(0), problem, machine, qama_jax.Exhaustive())
            np.testing.assert_allclose(lost.energy, energies.min(), rtol=1e-5)
            assert np.isclose(
                lost.loss, expected, rtol=1e-3, atol=1e-6
            ).any()  # any of states that it cannot tell apart
            np.testing.assert_allclose(lost.rounded_energy - lost.energy, lost.loss * np.abs(lost.energy), atol=1e-5)
            losses.append(float(lost.loss))
        assert np.count_nonzero(np.array(losses) > 1e-3) >= 3

    def test_splitting_lowers_the_loss(self):
        problems = stack([random_attention(seed, tokens=8) for seed in range(16)])
        keys = jax.random.split(jax.random.key(0), 16)
        solver = qama_jax.SimulatedBifurcation(num_reads=16)

        def mean_loss(**limits):
            loss = functools.partial(rounding_loss, machine=Machine(**limits), solver=solver)
            return float(jnp.mean(jax.jit(jax.vmap(loss))(keys, problems).loss))

        one = mean_loss(coupling_bits=4, auxiliary_spins=1)
        assert one > 1e-3
        assert mean_loss(coupling_bits=4) < 0.5 * one


# With the strength of the linear terms. Those that the machine takes itself act at full strength while the pulses are
# still small: strong ones decide too early.
MACHINES = {
    "linear terms": (Machine(auxiliary_spins=0), 0.2),
    "one auxiliary spin": (Machine(auxiliary_spins=1, coupling_bits=16), 1.0),
    "splitting": (Machine(), 1.0),
    "real couplings": (Machine(coupling_bits=None), 1.0),
}
each_machine = pytest.mark.parametrize(("machine", "bias_scale"), MACHINES.values(), ids=MACHINES.keys())


class TestSimulatedMachine:
    @each_machine
    def test_finds_ground_states(self, machine, bias_scale):
        problems = [random_ising(seed, n=10, bias_scale=bias_scale) for seed in range(8)]
        keys = jax.random.split(jax.random.key(0), 8)
        solver = SimulatedMachine(machine, num_reads=16)
        solutions = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver)))(keys, stack(problems))
        assert solutions.reads.shape == (8, 16, 10)
        for problem, reads in zip(problems, np.asarray(solutions.reads), strict=True):
            assert_has_ground_state(reads, embed(problem, machine))
        np.testing.assert_array_equal(solutions.info["auxiliary_agreement"], np.ones((8, 16)))

    def test_batches_are_the_same_as_one_by_one(self):
        problems = [random_attention(seed) for seed in range(3)]
        keys = jax.random.split(jax.random.key(0), 3)
        solver = SimulatedMachine(coupling_noise=0.02, num_reads=2)
        solve = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver)))
        batch = solve(keys, stack(problems))
        for index, problem in enumerate(problems):
            np.testing.assert_array_equal(batch.reads[index], qama_jax.solve(keys[index], problem, solver).reads)
        equal = SimulatedMachine(Machine(), coupling_noise=0.02, num_reads=2)
        assert (equal, hash(equal)) == (solver, hash(solver))

    def test_slots_that_are_not_used_do_not_matter(self):
        problems = stack([random_ising(seed, n=10) for seed in range(8)])
        keys = jax.random.split(jax.random.key(0), 8)

        def reads(num_spins):
            solver = SimulatedMachine(Machine(num_spins=num_spins), num_steps=60)
            return jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver).reads))(keys, problems)

        most = int(jnp.max(jax.vmap(lambda problem: embed(problem, Machine()))(problems).num_auxiliary))
        assert 4 < most < 30
        np.testing.assert_array_equal(reads(10 + most), reads(10 + 64))

    def test_noise_reaches_linear_terms_that_the_machine_takes(self):
        biases = np.array([1, -0.1, 0.1, -0.1, 0.1, -1, 0.1, -0.1], np.float32)
        problem = qama_jax.Ising(np.zeros((8, 8), np.float32), biases)

        def bits(noise, seed):
            solver = SimulatedMachine(Machine(auxiliary_spins=0), coupling_noise=noise, num_reads=3, num_steps=100)
            return np.asarray(qama_jax.solve(jax.random.key(seed), problem, solver).reads)

        np.testing.assert_array_equal(bits(0.0, 0), np.tile(biases > 0, (3, 1)))
        noisy = bits(0.2, 0)
        np.testing.assert_array_equal(noisy[:, [0, 5]], np.tile([1, 0], (3, 1)))
        assert (noisy != (biases > 0)).any()
        np.testing.assert_array_equal(noisy, np.tile(noisy[0], (3, 1)))  # reads share what was programmed
        assert (noisy != bits(0.2, 1)).any()

    def test_is_about_as_good_as_the_training_solver_at_the_size_of_the_machine(self):
        problems = stack([random_attention(seed, heads=8, tokens=64, head_dim=8) for seed in range(8)])
        keys = jax.random.split(jax.random.key(0), 8)

        def energies(solver):
            solve = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver).energy))
            return np.asarray(solve(keys, problems))

        trained = energies(qama_jax.SimulatedBifurcation())
        assert np.mean((energies(SimulatedMachine()) - trained) / np.abs(trained)) < 0.01

    def test_in_a_layer_under_grad(self):
        def gradient(solver):
            layer = qama_jax.QAMAAttention(2, 4, solver=solver, decode=False, rngs=nnx.Rngs(0, anneal=1))
            x = jax.random.normal(jax.random.key(0), (2, 4, 4))
            return nnx.jit(nnx.grad(lambda layer, x: jnp.sum(layer(x) ** 2)))(layer, x)

        # The optimum is unique, so that enumeration selects the same, and so has the same gradient.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            leaves, expected = map(jax.tree.leaves, (gradient(SimulatedMachine()), gradient(qama_jax.Exhaustive())))
        for leaf, other in zip(leaves, expected, strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-6)
        assert any(np.abs(leaf).max() > 0 for leaf in leaves)


class TestSimulatedBackend:
    @each_machine
    def test_finds_ground_states(self, machine, bias_scale):
        problems = [random_ising(seed, n=10, bias_scale=bias_scale) for seed in range(8)]
        keys = jax.random.split(jax.random.key(0), 8)
        solver = CimSolver(SimulatedBackend(SimulatedMachine(machine)), num_reads=16)
        solve = jax.jit(jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver).reads))
        reads = np.asarray(solve(keys, stack(problems)))
        for problem, its_reads in zip(problems, reads, strict=True):
            assert_has_ground_state(its_reads, embed(problem, machine))
        np.testing.assert_array_equal(reads, solve(keys, stack(problems)))  # seeded by the key

    def test_small_problems_share_a_task(self, tmp_path):
        batch = stack([random_ising(seed) for seed in range(6)])
        keys = jax.random.split(jax.random.key(0), 6)
        runner = TaskRunner(SimulatedBackend(SimulatedMachine(Machine(num_spins=40))), journal=tmp_path)
        solver = CimSolver(runner, num_reads=16)
        solutions = jax.vmap(lambda key, problem: qama_jax.solve(key, problem, solver))(keys, batch)
        np.testing.assert_allclose(solutions.energy, lowest_energies(batch), rtol=1e-5)
        assert 1 < runner.stats.submitted < 6

    def test_is_the_simulated_machine(self):
        """Other random numbers, equal energies on average: without noise of the couplings, and with it."""
        problems = stack([random_attention(seed, tokens=16) for seed in range(32)])
        keys = jax.random.split(jax.random.key(0), 32)
        means = {}
        for noise in (0.0, 0.2):
            simulation = SimulatedMachine(Machine(num_spins=100), coupling_noise=noise)
            for name, solver in {"device": simulation, "host": CimSolver(SimulatedBackend(simulation))}.items():
                solve = jax.jit(
                    jax.vmap(lambda key, problem, solver=solver: qama_jax.solve(key, problem, solver).energy)
                )
                means[name, noise] = float(jnp.mean(solve(keys, problems)))
        drop = means["device", 0.2] - means["device", 0.0]
        assert drop > 0.02 * abs(means["device", 0.0])
        for noise in (0.0, 0.2):
            assert abs(means["host", noise] - means["device", noise]) < 0.4 * drop


class TestOtherMachinesForATrainedModel:
    run = Run("digits", "qama", TrainingSettings(epochs=1), width=16, num_heads=2, mlp_dim=16, patch_size=2)

    @pytest.fixture
    def model_and_data(self, tmp_path):
        data = self.run.load(tmp_path).take(32, 12)
        model = self.run.model_maker(data)(nnx.Rngs(0))
        model.head.kernel[...] = jax.random.normal(jax.random.key(0), model.head.kernel.shape)
        model.head.bias[...] = jax.random.normal(jax.random.key(1), model.head.bias.shape)
        return model, data

    def test_same_weights_and_another_solver(self, model_and_data):
        model, data = model_and_data
        # Stopped at once, the second machine's answer is its random start.
        solvers = {
            "training": self.run.solver,
            "again": self.run.solver,
            "stopped": SimulatedMachine(num_steps=1, time_step=1e-9),
        }
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            logits = np.asarray(model(data.test_inputs), np.float64)
            rows = hardware.compare(model, self.run, data, solvers, batch_size=12)
        outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        labels = np.arange(12), data.test_labels
        first = rows["training"]
        np.testing.assert_allclose(first["mean_label_output"], outputs[labels].mean(), rtol=1e-4)
        np.testing.assert_allclose(first["mean_label_logit"], logits[labels].mean(), rtol=1e-4, atol=1e-4)
        assert first["accuracy"] == np.mean(logits.argmax(1) == data.test_labels)
        assert {**rows["again"], "evaluation_seconds": 0} == {**first, "evaluation_seconds": 0}
        assert rows["stopped"]["mean_label_logit"] != first["mean_label_logit"]
        for row in rows.values():
            assert row["accuracy_difference"] == row["accuracy"] - first["accuracy"]

    def test_where_the_time_goes(self, model_and_data):
        model, data = model_and_data
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            problems = hamiltonians(model, data.test_inputs)
            reference = jnp.ones(12)
            solver = CimSolver(SimulatedBackend(SimulatedMachine(num_steps=5)), num_reads=2)
            host = hardware.time_problem(problems, solver, reference)
            device = hardware.time_problem(problems, self.run.solver, reference)
        assert min(host["solve_s"], host["conversion_s"]) > 0
        assert host["transfer_s"] >= 0
        assert device["solve_s"] == device["total_s"] > 0
        assert device["transfer_s"] == device["conversion_s"] == 0
        assert hardware.describe(solver).startswith("CimSolver(SimulatedBackend(SimulatedMachine(")

    def test_a_model_that_is_not_trained(self, tmp_path):
        places = Places(tmp_path, tmp_path / "work", tmp_path)
        run = dataclasses.replace(self.run, study="accuracy", case="digits", arm="qama")
        with pytest.raises(ValueError, match="no trained accuracy/digits_qama_seed0; train it by python -m"):
            hardware.load_trained(run, places)


@pytest.mark.parametrize("documented", [embed, rounding_report, rounding_loss, SimulatedMachine, SimulatedBackend])
def test_examples_run(documented):
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, documented.__name__, globs={"jax": jax})
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.attempted > 0
    assert result.failed == 0
