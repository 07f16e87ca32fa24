"""Time of a sweep of simulated annealing on sparse graphs, against dwave-samplers on one core.

The time of many sweeps less that of a few, over the difference, so that what is done once does not count; both sides in
turn, A B A B. The time of the processor counts, which is that of one core: dwave-samplers uses one, and where XLA uses
more, all of them are added up.
"""

import statistics
import time
from collections.abc import Callable
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
        header = {"part": "sweeps", "name": name}
        if lines.find(header) is not None:
            continue
        ours, theirs = [], []
        sides = _ours(problem), _theirs(problem)
        for _ in range(repeats):
            for seconds, run in zip((ours, theirs), sides, strict=True):
                seconds.append((_processor_time(run, _MANY) - _processor_time(run, _FEW)) / (_MANY - _FEW))
        medians = [statistics.median(seconds) for seconds in (ours, theirs)]
        sizes = {"bits": problem.shape[0], "reads": NUM_READS}
        times = {"ours_s": medians[0], "theirs_s": medians[1], "ratio": medians[1] / medians[0]}
        lines.add(header | sizes | times | {"all": {"ours_s": ours, "theirs_s": theirs}})
        print(f"{name}: {medians[0] * 1e3:.2f} ms a sweep against {medians[1] * 1e3:.2f}", flush=True)


def make_table(lines: list[Result]) -> Table:
    """Both sides' times."""
    return Table.of(
        [
            {
                "graph": line["name"],
                "bits": f"{line['bits']:,}",
                "reads": str(line["reads"]),
                "ours, ms a sweep": f"{line['ours_s'] * 1e3:.2f}",
                "dwave-samplers, ms": f"{line['theirs_s'] * 1e3:.2f}",
                "ratio": f"{line['ratio']:.1f}",
            }
            for line in lines
        ]
    )


def table() -> Table:
    """Of the result file."""
    return table_of("sweeps", make_table)


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
