"""What stands between the host and an Ising machine: one protocol for all of them. NumPy only, no JAX."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int8, Num

from qama_jax.hardware.machine import Machine


class HardwareError(RuntimeError):
    """A machine failed, or answered what is no answer. The message names the backend, the problem and the remedy."""


class MachineProblem(NamedTuple):
    """One problem as it is sent: minimise `-½ σᵀ couplings σ - biasesᵀ σ` over m spins σ in {-1, +1}.

    Attributes:
      couplings: [m, m], symmetric, zero diagonal: integers, or floating-point for a machine of real couplings.
      biases: [m], of the same type; zero for a machine that has couplings alone.
      seed: below 2**32, for backends that can be seeded; from the PRNG key of the problem.
    """

    couplings: Num[np.ndarray, "m m"]
    biases: Num[np.ndarray, "m"]
    seed: int

    @property
    def num_spins(self) -> int:
        """The number of spins m."""
        return self.biases.shape[0]

    def energies(self, spins: Num[np.ndarray, "reads m"]) -> Num[np.ndarray, "reads"]:
        """Energy of each read, float64, in the units of the machine."""
        spins = spins.astype(np.float64)
        return -np.sum(spins * (spins @ self.couplings / 2 + self.biases), axis=1)


@runtime_checkable
class Backend(Protocol):
    """A machine, or what reaches it. Compared by identity: make one and keep it, so that models compile once.

    Implementations run on the host, in a thread of JAX that waits for them: they must not call JAX.

    Attributes:
      name: what errors and journals call it.
      machine: its limits; problems are embedded accordingly.
    """

    @property
    def name(self) -> str: ...

    @property
    def machine(self) -> Machine: ...

    def sample(self, problems: Sequence[MachineProblem], num_reads: int) -> Sequence[np.ndarray]:
        """Spins ±1 for each problem, [k, m] with its own m and k >= num_reads, in any order."""
        ...


def sample_checked(
    backend: Backend, problems: Sequence[MachineProblem], num_reads: int
) -> list[Int8[np.ndarray, "reads m"]]:
    """`backend.sample`, with every answer checked.

    Raises:
      HardwareError: if the backend raises, or an answer is missing, too short, of another shape or not of ±1.
    """
    try:
        answers = backend.sample(problems, num_reads)
    except HardwareError:
        raise
    except Exception as error:
        sizes = sorted({problem.num_spins for problem in problems})
        raise HardwareError(
            f"{backend.name} failed on {len(problems)} problems of {sizes} spins: {_describe(error)}"
        ) from error
    if answers is None or len(answers) != len(problems):
        got = "None" if answers is None else f"{len(answers)} answers"
        raise HardwareError(f"{backend.name} gave {got} for {len(problems)} problems; it must give one for each")
    return [
        check_answer(backend.name, answer, problem, num_reads, f"problem {index} of {len(problems)}")
        for index, (answer, problem) in enumerate(zip(answers, problems, strict=True))
    ]


def sample_one_by_one(backend, problems: Sequence[MachineProblem], num_reads: int) -> list[np.ndarray]:
    """`backend.run(problem, num_reads)` for each problem, for backends that take one at a time.

    Raises:
      HardwareError: where `run` raises; the message names the problem.
    """
    answers = []
    for index, problem in enumerate(problems):
        try:
            answers.append(backend.run(problem, num_reads))
        except Exception as error:
            remedy = "" if is_lasting(error) else "; wrap it in qama_jax.hardware.TaskRunner, which tries again"
            raise HardwareError(
                f"{backend.name} failed on problem {index} of {len(problems)}, of {problem.num_spins} spins: "
                f"{_describe(error)}{remedy}"
            ) from error
    return answers


def is_lasting(error: BaseException | None) -> bool:
    """Whether an error comes from something that is not implemented, which no other attempt changes."""
    while error is not None and not isinstance(error, NotImplementedError):
        error = error.__cause__
    return error is not None


def check_answer(
    name: str, answer: np.ndarray | None, problem: MachineProblem, num_reads: int, which: str
) -> Int8[np.ndarray, "reads m"]:
    """An answer as int8 spins [k, m], all rows kept; one of a single read may be 1-D.

    Raises:
      HardwareError: see `sample_checked`.
    """
    about = f"{name} answered {which}, of {problem.num_spins} spins, with"
    if answer is None:
        raise HardwareError(f"{about} None; wait until the task is finished")
    spins = np.atleast_2d(np.asarray(answer))
    if spins.ndim != 2 or spins.shape[1] != problem.num_spins:
        raise HardwareError(f"{about} shape {np.shape(answer)}; expected [reads, {problem.num_spins}]")
    if len(spins) < num_reads:
        raise HardwareError(
            f"{about} {len(spins)} reads, fewer than num_reads={num_reads}; "
            "ask the machine for more samples, or the solver for fewer reads"
        )
    if not np.issubdtype(spins.dtype, np.number) or not np.all(np.isin(spins, (-1, 1))):
        raise HardwareError(f"{about} {_wrong_values(spins)}; expected spins -1 and +1")
    return spins.astype(np.int8)


def lowest_reads(
    spins: Int8[np.ndarray, "k m"], problem: MachineProblem, num_reads: int
) -> Int8[np.ndarray, "reads m"]:
    """The `num_reads` rows of lowest energy, lowest first."""
    return spins[np.argsort(problem.energies(spins), kind="stable")[:num_reads]]


def _wrong_values(spins: np.ndarray) -> str:
    if not np.issubdtype(spins.dtype, np.number):
        return f"values of type {spins.dtype}"
    if np.isnan(spins).any():
        return "NaN"
    values = np.unique(spins)
    if np.all(np.isin(values, (0, 1))):
        return "bits 0 and 1, to be converted by 2 bits - 1"
    return f"values from {values[0]} to {values[-1]}"


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
