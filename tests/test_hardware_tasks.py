"""Tasks that cost money: packed, tried again, limited, journalled, never paid for twice."""

import json
import subprocess
import sys
import textwrap
import threading
import time

import jax
import numpy as np
import oracle
import pytest

import qama_jax
from qama_jax.hardware import (
    CallableBackend,
    HardwareError,
    Journal,
    Machine,
    MachineProblem,
    TaskRunner,
    group_by_size,
    pack,
    unpack,
)

pytestmark = pytest.mark.usefixtures("strict")

UNLIMITED = Machine(num_spins=None, coupling_bits=None, auxiliary_spins=0)


def random_problem(seed, n=5, dtype=np.float64):
    rng = np.random.default_rng(seed)
    couplings = np.triu(rng.integers(-9, 10, (n, n)), 1)
    return MachineProblem((couplings + couplings.T).astype(dtype), rng.integers(-9, 10, n).astype(dtype), seed)


def lowest(couplings, biases, num_reads):
    spins = 2 * oracle.all_states(len(biases)) - 1.0
    energies = MachineProblem(couplings, biases, 0).energies(spins)
    return spins[np.argsort(energies)[:num_reads]]


def lowest_energies(problems):
    return [problem.energies(lowest(problem.couplings, problem.biases, 1))[0] for problem in problems]


class Machine550:
    """Fails as told, task by task, and counts the tasks."""

    name = "Machine550"

    def __init__(self, faults=(), num_spins=None):
        self.machine = Machine(num_spins=num_spins, coupling_bits=None, auxiliary_spins=0)
        self.faults = list(faults)
        self.tasks = []

    def sample(self, problems, num_reads):
        (problem,) = problems
        self.tasks.append(problem)
        spins = lowest(problem.couplings, problem.biases, num_reads)
        fault = self.faults.pop(0) if self.faults else None
        return [spins if fault is None else fault(spins)]


def fail(spins):
    raise ConnectionError("the cloud is down")


def hang(spins):
    time.sleep(60)


FAULTS = {
    "raising": (fail, "ConnectionError: the cloud is down"),
    "hanging": (hang, "no answer within 0.2 seconds"),
    "None": (lambda spins: None, "with None"),
    "short": (lambda spins: spins[:1], "1 reads, fewer than num_reads=2"),
    "wrong shape": (lambda spins: spins[:, 1:], "shape"),
    "bits": (lambda spins: (spins + 1) // 2, "bits 0 and 1"),
    "NaN": (lambda spins: spins * np.nan, "NaN"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS.keys())
class TestFaults:
    def test_tried_again(self, fault, message, tmp_path):
        backend = Machine550([fault])
        runner = TaskRunner(backend, journal=tmp_path, backoff_s=0.01, timeout_s=0.2)
        problem = random_problem(0)
        (spins,) = runner.sample([problem], 2)
        assert problem.energies(spins).min() == lowest_energies([problem])[0]
        events = Journal(tmp_path).events()
        assert [event["event"] for event in events] == ["submitted", "failed", "submitted", "finished"]
        assert message in events[1]["error"]
        assert runner.stats.submitted == 2
        assert runner.stats.failed == 1

    def test_given_up_without_losing_what_is_finished(self, fault, message, tmp_path):
        problems = [random_problem(seed) for seed in range(3)]
        backend = Machine550([None, fault, fault])
        runner = TaskRunner(backend, journal=tmp_path, max_attempts=2, backoff_s=0.01, timeout_s=0.2)
        expected = (
            rf"Machine550, task of problems \[1\] of 3, of 5 spins: gave up after max_attempts=2.*{message}"
            ".*or name a fallback; finished tasks are kept"
        )
        with pytest.raises(HardwareError, match=expected):
            runner.sample(problems, 2)
        assert len(backend.tasks) == 3
        # Another process, later: only what is missing is paid for.
        later = Machine550()
        answers = TaskRunner(later, journal=tmp_path).sample(problems, 2)
        assert [task.seed for task in later.tasks] == [1, 2]
        energies = [problem.energies(spins).min() for problem, spins in zip(problems, answers, strict=True)]
        assert energies == lowest_energies(problems)

    def test_the_fallback_is_named_and_never_silent(self, fault, message, tmp_path):
        problems = [random_problem(seed) for seed in range(2)]
        backend = Machine550([fault] * 2)
        runner = TaskRunner(
            backend, journal=tmp_path, max_attempts=2, backoff_s=0.01, timeout_s=0.2, fallback=CallableBackend(lowest)
        )
        with pytest.warns(RuntimeWarning, match=rf"(?s){message}.*solved by the fallback CallableBackend\(lowest\)"):
            answers = runner.sample(problems, 2)
        energies = [problem.energies(spins).min() for problem, spins in zip(problems, answers, strict=True)]
        assert energies == lowest_energies(problems)
        assert runner.stats.problems_from_fallback == 1
        (event,) = [event for event in Journal(tmp_path).events() if event["event"] == "fallback"]
        assert event["fallback"] == "CallableBackend(lowest)"
        # It was free, so the machine is asked again.
        later = Machine550()
        TaskRunner(later, journal=tmp_path).sample(problems, 2)
        assert [task.seed for task in later.tasks] == [0]


def test_backoff_doubles(monkeypatch):
    pauses = []
    monkeypatch.setattr("qama_jax.hardware.tasks.runner.time.sleep", pauses.append)
    with pytest.raises(HardwareError, match="max_attempts=4"):
        TaskRunner(Machine550([fail] * 4), max_attempts=4, backoff_s=0.5).sample([random_problem(0)], 1)
    assert pauses == [0.5, 1.0, 2.0]


def test_what_is_not_implemented_is_not_tried_again():
    """However deep the reason; a fallback still answers."""
    calls = []

    def missing(couplings, biases, num_reads):
        calls.append(num_reads)
        raise NotImplementedError("no such sampler")

    with pytest.raises(HardwareError, match="no such sampler") as caught:
        TaskRunner(missing, backoff_s=60).sample([random_problem(0)], 2)
    assert len(calls) == 1
    assert "not tried again" in str(caught.value)
    assert "TaskRunner" not in str(caught.value)
    with pytest.warns(RuntimeWarning, match="solved by the fallback"):
        (spins,) = TaskRunner(missing, backoff_s=60, fallback=lowest).sample([random_problem(0)], 2)
    assert len(calls) == 2
    assert len(spins) == 2


def test_an_answer_that_comes_too_late_is_kept(tmp_path):
    released = threading.Event()

    def late(spins):
        released.wait(10)
        return spins

    backend = Machine550([late])
    problem = random_problem(0)
    with pytest.raises(HardwareError, match="no answer within"):
        TaskRunner(backend, journal=tmp_path, max_attempts=1, timeout_s=0.1).sample([problem], 1)
    released.set()
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    later = Machine550()
    TaskRunner(later, journal=tmp_path).sample([problem], 1)
    assert not later.tasks


class TestBudget:
    def test_counts_attempts_and_earlier_runs(self, tmp_path):
        problems = [random_problem(seed) for seed in range(4)]
        first = Machine550([fail])
        with pytest.raises(HardwareError, match=r"problems \[2\] of 4.*budget of max_tasks=3 tasks is spent; raise it"):
            TaskRunner(first, journal=tmp_path, max_tasks=3, backoff_s=0.01).sample(problems, 1)
        assert len(first.tasks) == 3
        second = Machine550()
        runner = TaskRunner(second, journal=tmp_path, max_tasks=4)
        with pytest.raises(HardwareError, match=r"problems \[3\] of 4.*max_tasks=4"):
            runner.sample(problems, 1)
        assert len(second.tasks) == 1
        assert runner.stats.problems_from_journal == 2

    def test_beyond_it_the_fallback_answers(self):
        runner = TaskRunner(Machine550(), max_tasks=0, fallback=lowest)
        problem = random_problem(0)
        with pytest.warns(RuntimeWarning, match="max_tasks=0"):
            (spins,) = runner.sample([problem], 1)
        assert problem.energies(spins) == lowest_energies([problem])


class TestPacking:
    def test_exact(self):
        problems = [random_problem(seed, n, np.int8) for seed, n in enumerate([3, 1, 5])]
        packed = pack(problems)
        assert packed.couplings.dtype == np.int8
        spins = np.random.default_rng(0).choice([-1, 1], (7, 9)).astype(np.int8)
        parts = unpack(spins, problems)
        assert [part.shape for part in parts] == [(7, 3), (7, 1), (7, 5)]
        total = sum(problem.energies(part) for problem, part in zip(problems, parts, strict=True))
        np.testing.assert_array_equal(packed.energies(spins), total)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), spins)

    @pytest.mark.parametrize(
        ("sizes", "capacity", "groups"),
        [
            ([5, 5, 5], 15, [[0, 1, 2]]),
            ([5, 5, 5], 14, [[0, 1], [2]]),
            ([8, 4, 2, 6], 10, [[0, 2], [1, 3]]),
            ([5, 5], None, [[0], [1]]),
            ([], 10, []),
        ],
    )
    def test_first_fit(self, sizes, capacity, groups):
        assert group_by_size(sizes, capacity) == groups

    def test_too_large(self):
        with pytest.raises(ValueError, match="problem 1 has 551 spins, the machine 550"):
            group_by_size([5, 551], 550)

    def test_small_problems_share_a_task_and_each_gets_its_best(self, tmp_path):
        backend = Machine550(num_spins=10)
        problems = [random_problem(seed, n) for seed, n in enumerate([5, 4, 5, 3, 2])]
        runner = TaskRunner(backend, journal=tmp_path)
        answers = runner.sample(problems, 2)
        assert [task.num_spins for task in backend.tasks] == [9, 10]
        energies = [problem.energies(spins).min() for problem, spins in zip(problems, answers, strict=True)]
        assert energies == lowest_energies(problems)
        # Journalled one by one: other companions, same answers.
        again = TaskRunner(Machine550([fail], num_spins=10), journal=tmp_path, max_attempts=1).sample(problems[::-2], 2)
        for spins, expected in zip(again, answers[::-2], strict=True):
            np.testing.assert_array_equal(spins, expected)

    def test_through_the_solver(self):
        """16 attention problems of 12 bits and their auxiliary spins on a machine of 550."""

        class Descent(Machine550):
            def sample(self, problems, num_reads):
                (problem,) = problems
                self.tasks.append(problem)
                spins = np.random.default_rng(problem.seed).choice([-1, 1], (num_reads, problem.num_spins))
                for row in spins:
                    for _ in range(20):
                        for i in range(len(row)):
                            field = row @ problem.couplings[i].astype(float) + problem.biases[i]
                            row[i] = 1 if field > 0 else -1
                return [spins]

        backend = Descent()
        backend.machine = Machine(num_spins=550)
        inputs = np.random.default_rng(0).standard_normal((3, 16, 6, 2, 3)).astype(np.float32)
        _, found = qama_jax.qama_attention(
            *inputs, np.ones(3, np.float32), rng=jax.random.key(0), solver=qama_jax.CimSolver(TaskRunner(backend), 20)
        )
        assert len(backend.tasks) == 1
        assert 16 * 13 <= backend.tasks[0].num_spins <= 550
        _, best = qama_jax.qama_attention(
            *inputs, np.ones(3, np.float32), rng=jax.random.key(0), solver=qama_jax.Exhaustive()
        )
        gaps = (found.energy - best.energy) / np.abs(best.energy)
        assert gaps.min() > -1e-5
        assert gaps.mean() < 0.05


class TestJournal:
    def test_says_what_was_asked_and_answered(self, tmp_path):
        problems = [random_problem(seed) for seed in range(2)]
        before = time.time()
        answers = TaskRunner(Machine550(num_spins=10), journal=tmp_path).sample(problems, 2)
        submitted, finished = Journal(tmp_path).events()
        assert (submitted["event"], finished["event"]) == ("submitted", "finished")
        assert finished["backend"] == "Machine550"
        assert finished["num_spins"] == [5, 5]
        assert finished["num_reads"] == 2
        assert before <= submitted["time"] <= finished["time"] <= time.time()
        assert 0 < finished["seconds"] < 10
        assert finished["hashes"] == submitted["hashes"]
        for problem, spins, energies in zip(problems, answers, finished["energies"], strict=True):
            assert problem.energies(spins).tolist() == energies
        with np.load(tmp_path / finished["file"], allow_pickle=False) as stored:
            for hash, spins in zip(finished["hashes"], answers, strict=True):
                np.testing.assert_array_equal(stored[hash], spins)
        assert not list(tmp_path.glob("*.partial"))

    def test_another_question_is_another_task(self, tmp_path):
        backend = Machine550()
        runner = TaskRunner(backend, journal=tmp_path)
        problem = random_problem(0)
        other = random_problem(1)
        questions = [
            (problem, 1),
            (problem, 2),
            (problem._replace(seed=7), 1),
            (problem._replace(biases=other.biases), 1),
            (problem._replace(couplings=other.couplings), 1),
        ]
        for question, num_reads in questions * 2:
            runner.sample([question], num_reads)
        assert len(backend.tasks) == 5
        runner.sample([problem._replace(seed=8)] * 3, 1)  # the same question thrice
        assert len(backend.tasks) == 6

    def test_a_line_cut_short_by_a_crash_is_skipped(self, tmp_path):
        problem = random_problem(0)
        TaskRunner(Machine550(), journal=tmp_path).sample([problem], 1)
        lines = tmp_path / "journal.jsonl"
        lines.write_text(lines.read_text()[:-20])
        (tmp_path / "0.partial").write_bytes(b"PK")
        backend = Machine550()
        TaskRunner(backend, journal=tmp_path).sample([problem, random_problem(1)], 1)
        assert [task.seed for task in backend.tasks] == [1]
        assert [event["event"] for event in Journal(tmp_path).events()] == ["submitted", "submitted", "finished"]

    def test_a_full_disk_is_no_reason_to_pay_again(self, tmp_path, monkeypatch):
        def full(*arguments, **keywords):
            raise OSError("No space left on device")

        monkeypatch.setattr("qama_jax.hardware.tasks.journal.np.savez", full)
        backend = Machine550()
        with pytest.raises(OSError, match="No space left"):
            TaskRunner(backend, journal=tmp_path, backoff_s=0.01).sample([random_problem(0)], 1)
        assert len(backend.tasks) == 1


def test_killed_in_the_middle_a_run_repeats_no_task(tmp_path):
    """Twelve problems in batches of four; the process kills itself during task 6, then runs again."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        import jax, numpy as np, qama_jax
        from qama_jax.hardware import TaskRunner

        directory, kill_at = sys.argv[1], int(sys.argv[2])
        count = 0

        def machine(couplings, biases, num_reads):
            global count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            with open(directory + "/paid", "a") as file:
                file.write(f"{couplings.tobytes().hex()}\\n")
            return np.where(np.arange(num_reads * len(biases)).reshape(num_reads, -1) % 3, 1, -1)

        solver = qama_jax.CimSolver(TaskRunner(machine, journal=directory + "/journal"), num_reads=3)
        solve = jax.vmap(qama_jax.solve, in_axes=(0, 0, None))
        matrices = np.random.default_rng(0).standard_normal((3, 4, 6, 6)).astype(np.float32)
        for step, batch in enumerate(matrices):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(0), step), 4)
            solutions = solve(keys, jax.vmap(qama_jax.Qubo)(batch), solver)
            print(np.asarray(solutions.energy).tolist())
        """
    )

    def run(directory, kill_at):
        directory.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-c", script, str(directory), str(kill_at)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert run(tmp_path / "a", 6).returncode == -9
    paid = (tmp_path / "a" / "paid").read_text().splitlines()
    assert len(paid) == 5
    resumed = run(tmp_path / "a", 0)
    assert resumed.returncode == 0, resumed.stderr
    paid = (tmp_path / "a" / "paid").read_text().splitlines()
    assert len(paid) == len(set(paid)) == 12
    events = [json.loads(line)["event"] for line in (tmp_path / "a/journal/journal.jsonl").read_text().splitlines()]
    assert events.count("submitted") == 13
    assert events.count("finished") == 12
    # As if nothing had happened.
    assert resumed.stdout == run(tmp_path / "b", 0).stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_attempts": 0}, "max_attempts must be an integer >= 1"),
        ({"backoff_s": 0}, "backoff_s must be positive"),
        ({"timeout_s": -1}, "timeout_s must be positive"),
        ({"max_tasks": -1}, "max_tasks must be an integer >= 0"),
        ({"fallback": 3}, "fallback must be a backend"),
        ({"backend": 3}, "backend must be a backend"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        TaskRunner(**{"backend": Machine550()} | settings)
