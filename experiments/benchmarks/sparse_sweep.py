"""Time of a sweep of simulated annealing on sparse graphs, against dwave-samplers on one core.

The time of many sweeps less that of a few, over the difference, so that what is done once does not count; both sides in
turn, A B A B. The time of the processor counts, which is that of one core: dwave-samplers uses one, and where XLA uses
more, all of them are added up.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from experiments.benchmarks import instances
from experiments.benchmarks.general_lines import table_of
from experiments.result_files import Result, ResultLines
from experiments.tables import Table
from qama_jax import Ising, SimulatedAnnealing, solve

NUM_READS, _FEW, _MANY = 64, 50, 250


def measure(found: instances.Found, lines: ResultLines, repeats: int) -> None:
    """Adds the graphs that the file lacks."""
    for name, (problem, _) in found.items():
        lines.fill({"part": "sweeps", "name": name}, partial(_time, problem, repeats))


def _time(problem: Ising, repeats: int) -> Result:
    all_s: dict[str, list[float]] = {"ours_s": [], "theirs_s": []}
    sides = _ours(problem), _theirs(problem)
    for _ in range(repeats):
        for seconds, run in zip(all_s.values(), sides, strict=True):
            seconds.append((_processor_time(run, _MANY) - _processor_time(run, _FEW)) / (_MANY - _FEW))
    medians = {side: statistics.median(seconds) for side, seconds in all_s.items()}
    ratio = medians["theirs_s"] / medians["ours_s"]
    return {"bits": problem.shape[0], "reads": NUM_READS} | medians | {"ratio": ratio, "all": all_s}


def make_table(lines: list[Result]) -> Table:
    """Both sides' times."""
    rows = []
    for line in lines:
        times = f"{line['ours_s'] * 1e3:.2f} | {line['theirs_s'] * 1e3:.2f} | {line['ratio']:.1f}"
        rows.append(f"{line['name']} | {line['bits']:,} | {line['reads']} | {times}")
    return Table.of("graph | bits | reads | ours, ms a sweep | dwave-samplers, ms | ratio", rows)


def _ours(problem: Ising) -> Callable[[int], Any]:
    compiled = {
        sweeps: jax.jit(solve, static_argnums=2)
        .lower(jax.random.key(0), problem, SimulatedAnnealing(num_sweeps=sweeps, num_reads=NUM_READS))
        .compile()
        for sweeps in (_FEW, _MANY)
    }
    return lambda sweeps: jax.block_until_ready(compiled[sweeps](jax.random.key(0), problem))


def _theirs(problem: Ising) -> Callable[[int], Any]:
    from dwave.samplers import SimulatedAnnealingSampler

    sampler, bqm = SimulatedAnnealingSampler(), problem.to_bqm()
    return lambda sweeps: sampler.sample(bqm, num_reads=NUM_READS, num_sweeps=sweeps, seed=0)


def _processor_time(run: Callable[[int], Any], sweeps: int) -> float:
    run(sweeps)
    start = time.process_time()
    run(sweeps)
    return time.process_time() - start


TABLES = {"general_sweeps": partial(table_of, "sweeps", make_table)}
