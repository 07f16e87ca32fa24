"""Tasks that cost money: packed, tried again, limited, journalled."""

import dataclasses
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int8

from qama_jax.checks import check_count, check_positive
from qama_jax.hardware.backend import Backend, HardwareError, MachineProblem, is_lasting, sample_checked
from qama_jax.hardware.callable_backend import SpinFunction, as_backend
from qama_jax.hardware.tasks.deadline import call_within
from qama_jax.hardware.tasks.journal import Journal, problem_hash
from qama_jax.hardware.tasks.packing import group_by_size, pack, unpack


@dataclasses.dataclass
class TaskStats:
    """What a `TaskRunner` has done so far.

    Attributes:
      submitted: tasks sent to the backend, each attempt counted; with a journal, also those of earlier runs.
      failed: attempts without a valid answer in time.
      finished: tasks answered.
      problems_from_journal: problems answered without asking.
      problems_from_fallback: problems that the fallback answered.
      solve_seconds: wall time of the finished tasks.
    """

    submitted: int = 0
    failed: int = 0
    finished: int = 0
    problems_from_journal: int = 0
    problems_from_fallback: int = 0
    solve_seconds: float = 0.0


class TaskRunner:
    """A backend around another one, for machines whose tasks are slow, fail, or cost money.

    Problems that fit the machine together are packed block-diagonally into one task. A task that fails, answers
    nothing valid, or takes too long is tried again after `backoff_s`, then twice, four times as long; not so one that
    raises `NotImplementedError`. Every answer is
    in the journal before anything else happens to it, also one that comes too late; a problem that is there, with the
    same seed and number of reads, is not sent again. So a run that was interrupted goes on where it was, at no cost.
    What was in flight when the program was killed has no answer, and is sent again.

    One task runs at a time, also where several threads ask.

    Args:
      backend: a backend, or a function as for `CimSolver`.
      journal: directory, see `Journal`; None for no journal. It knows a backend by its name: where settings change
        that the name does not have, take another directory.
      max_attempts: how often one task is submitted.
      backoff_s: seconds before the second attempt.
      timeout_s: seconds for which an attempt is waited for.
      max_tasks: most submissions, attempts and, with a journal, earlier runs counted. None for no limit.
      fallback: backend, or a function, for problems of tasks that failed or are beyond `max_tasks`. Each use is a
        `RuntimeWarning` and a `fallback` line in the journal; its answers are not kept there. None: an error.

    Attributes:
      stats: `TaskStats`.

    Raises:
      ValueError: if a setting is out of range.

    Example:
      >>> import dimod, qama_jax, tempfile
      >>> backend = qama_jax.hardware.DimodBackend(dimod.ExactSolver())
      >>> runner = qama_jax.hardware.TaskRunner(backend, journal=tempfile.mkdtemp(), max_tasks=100)
      >>> solver = qama_jax.CimSolver(runner, num_reads=4)
    """

    def __init__(
        self,
        backend: Backend | SpinFunction,
        *,
        journal: str | os.PathLike | None = None,
        max_attempts: int = 3,
        backoff_s: float = 1.0,
        timeout_s: float = 3600.0,
        max_tasks: int | None = None,
        fallback: Backend | SpinFunction | None = None,
    ):
        check_count(max_attempts=max_attempts)
        check_positive(backoff_s=backoff_s, timeout_s=timeout_s)
        if max_tasks is not None:
            check_count(0, max_tasks=max_tasks)
        self.backend = as_backend(backend, "backend")
        self.fallback = None if fallback is None else as_backend(fallback, "fallback")
        self.journal = None if journal is None else Journal(journal)
        self.max_attempts = max_attempts
        self.backoff_s = backoff_s
        self.timeout_s = timeout_s
        self.max_tasks = max_tasks
        self.machine = self.backend.machine
        self.name = self.backend.name
        earlier = [] if self.journal is None else self.journal.events()
        self.stats = TaskStats(submitted=sum(event["event"] == "submitted" for event in earlier))
        self._lock = threading.Lock()

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> list[Int8[np.ndarray, "reads m"]]:
        """See `Backend`.

        Raises:
          HardwareError: if a task failed and there is no fallback; what was finished before is in the journal.
        """
        with self._lock:
            hashes = [problem_hash(problem, num_reads, self.name) for problem in problems]
            unique = dict(zip(hashes, problems, strict=True))
            answers = self._from_journal(list(unique))
            self.stats.problems_from_journal += len(answers)
            missing = [hash for hash in unique if hash not in answers]
            sizes = [unique[hash].num_spins for hash in missing]
            for indices in group_by_size(sizes, self.machine.num_spins):
                task = {missing[index]: unique[missing[index]] for index in indices}
                which = [hashes.index(hash) for hash in task]
                answers |= self._run(task, num_reads, f"task of problems {which} of {len(problems)}")
            return [answers[hash] for hash in hashes]

    def _from_journal(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        if self.journal is None:
            return {}
        found = {hash: self.journal.find(hash) for hash in hashes}
        return {hash: spins for hash, spins in found.items() if spins is not None}

    def _run(self, task: dict[str, MachineProblem], num_reads: int, which: str) -> dict[str, np.ndarray]:
        """One task, as often as it takes."""
        about = {
            "backend": self.name,
            "num_spins": [problem.num_spins for problem in task.values()],
            "num_reads": num_reads,
        }
        num_spins = sum(about["num_spins"])
        cause = None
        reason = f"the budget of max_tasks={self.max_tasks} tasks is spent; raise it"
        for attempt in range(self.max_attempts):
            if attempt > 0:
                time.sleep(self.backoff_s * 2 ** (attempt - 1))
                late = self._from_journal(list(task))
                if len(late) == len(task):
                    return late
            if self.max_tasks is not None and self.stats.submitted >= self.max_tasks:
                break
            self.stats.submitted += 1
            self._record("submitted", hashes=list(task), **about)
            try:
                return call_within(self._submission(task, num_reads, about), self.timeout_s)
            except (HardwareError, TimeoutError) as error:
                cause = error
                self.stats.failed += 1
                self._record("failed", hashes=list(task), error=str(error), **about)
                if is_lasting(error):
                    reason = "it is not implemented, and was not tried again"
                    break
        else:
            reason = f"gave up after max_attempts={self.max_attempts}; raise it or timeout_s"
        message = f"{self.name}, {which}, of {num_spins} spins: {reason}"
        if cause is not None:
            message += f"; the last failure: {cause}"
        if self.fallback is None:
            raise HardwareError(
                f"{message}; or name a fallback" + ("" if self.journal is None else "; finished tasks are kept")
            ) from cause
        warnings.warn(f"{message}; solved by the fallback {self.fallback.name}", RuntimeWarning, stacklevel=2)
        self._record("fallback", hashes=list(task), fallback=self.fallback.name, error=message, **about)
        self.stats.problems_from_fallback += len(task)
        return dict(zip(task, sample_checked(self.fallback, list(task.values()), num_reads), strict=True))

    def _submission(
        self, task: dict[str, MachineProblem], num_reads: int, about: dict
    ) -> Callable[[], dict[str, np.ndarray]]:
        def submit():
            problems = list(task.values())
            started = time.perf_counter()
            (spins,) = sample_checked(self.backend, [pack(problems)], num_reads)
            seconds = time.perf_counter() - started
            parts = unpack(spins, problems)
            if self.journal is not None:
                self.journal.finish(list(task), problems, parts, seconds=seconds, **about)
            self.stats.finished += 1
            self.stats.solve_seconds += seconds
            return dict(zip(task, parts, strict=True))

        return submit

    def _record(self, event: str, **details) -> None:
        if self.journal is not None:
            self.journal.record(event, **details)
