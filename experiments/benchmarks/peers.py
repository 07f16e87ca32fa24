"""Our solvers against those of other projects, at equal quality.

    python -m experiments.benchmarks.peers [--part qama|k2000|g22] [--instances DIR]

On attention problems: the time per problem to a mean gap of 0.3 %. Every contestant climbs a ladder of budgets, the
cheapest first, to the first that meets it. The gap is (E - E_ref)/|E_ref|, E_ref the lowest of the annealed energies
of `experiments.benchmarks.solver`, of 64 reads of 200 steps of our own, and of all that any contestant found here.
What met it is then timed again in rounds, each contestant in turn. Ours is one call for the whole batch; the others
take one problem at a time.

On K2000 and G22: the time to 99.8 % of the best known cut with a probability of 99 %, one problem for all.

The result file grows after each measurement, and a run that was interrupted goes on where it stopped. Others on the
same cores spoil the times, most of all PyTorch's.
"""

import argparse
import dataclasses
import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8

from experiments.benchmarks import instances, opponents
from experiments.benchmarks.harness import make_parser
from experiments.benchmarks.peer_lines import FILE, in_words, lines_of
from experiments.benchmarks.solver import SHAPES, random_problems
from experiments.provenance import provenance
from experiments.result_files import RESULTS, ResultLines
from experiments.timing import summary
from qama_jax import (
    AttentionHamiltonian,
    Ising,
    MeanFieldAnnealing,
    SimulatedAnnealing,
    SimulatedBifurcation,
    SteepestDescent,
    solve,
)
from qama_jax.analysis import time_to_solution

Budget = dict[str, Any]

TARGET_GAP = 0.003
SHARE_OF_BEST = 0.998
# Of a budget, as many runs are made as the time limit allows, but not fewer.
MINIMAL_RUNS = 3
INSTANCES = {"k2000": "K2000", "g22": "G22"}
_ANNEALED = RESULTS / "benchmark_solver.json"
_SEED = 0


def _ladder(names: str, *rows: Any) -> list[Budget]:
    """`_ladder("a b", (1, 2), (3, 4))` is `[{"a": 1, "b": 2}, {"a": 3, "b": 4}]`."""
    values = (row if isinstance(row, tuple) else (row,) for row in rows)
    return [dict(zip(names.split(), row, strict=True)) for row in values]


_ANNEALING = _ladder(
    "num_sweeps num_reads",
    *((2, 1), (5, 1), (10, 1), (20, 1), (50, 1), (20, 4), (100, 1), (200, 1), (100, 4), (500, 1), (200, 4)),
    *((1000, 1), (100, 20), (2000, 1), (500, 4), (5000, 1), (1000, 4), (500, 20), (5000, 4), (5000, 20)),
)
_TORCH = _ladder(
    "agents max_steps early_stopping",
    *((1, 200, False), (1, 500, False), (1, 1000, False), (4, 1000, False), (1, 3000, False), (8, 2000, False)),
    *((16, 2000, False), (8, 10_000, True), (32, 2000, False), (64, 2000, False), (32, 10_000, True)),
    *((128, 3000, False), (128, 10_000, True)),
)
_TORCH_CUTS = _ladder(
    "agents max_steps early_stopping",
    *((16, 1000, False), (32, 1000, False), (64, 1000, False), (128, 1000, False)),
    *((16, 5000, True), (64, 2000, False)),
)

OURS = {
    solver.__name__: solver
    for solver in (SimulatedBifurcation, MeanFieldAnnealing, SteepestDescent, SimulatedAnnealing)
}
PEERS = {
    peer.name: peer
    for peer in (
        opponents.DwaveAnnealing(),
        opponents.OpenJij("SA"),
        opponents.OpenJij("SQA"),
        opponents.TorchBifurcation("ballistic"),
        opponents.TorchBifurcation("discrete"),
    )
}
# The settings of each contestant, cheapest first.
QAMA_BUDGETS = {
    "SimulatedBifurcation": [
        *_ladder("num_steps", 5, 10, 20, 30, 40, 60, 80, 100),
        *_ladder("num_steps num_reads", (60, 2), (60, 4), (60, 8)),
    ],
    "MeanFieldAnnealing": _ladder("num_steps", 1, 2, 5, 10, 20, 50),
    "SteepestDescent": (
        *_ladder("max_steps", 2, 4, 6, 10, 1000),
        *_ladder("num_reads", 2, 4, 8, 16),
    ),
    "SimulatedAnnealing": _ladder("num_sweeps", 20, 50, 100, 200, 500, 1000),
    "dwave-samplers SA": _ANNEALING,
    "OpenJij SA": _ANNEALING,
    "OpenJij SQA": _ANNEALING,
    "simulated-bifurcation ballistic": _TORCH,
    "simulated-bifurcation discrete": _TORCH,
}
CUT_BUDGETS = {
    "SimulatedBifurcation": _ladder(
        "num_steps num_reads",
        *((200, 8), (200, 16), (500, 8), (200, 32), (1000, 8), (500, 16), (2000, 8), (500, 32), (1000, 16)),
        *((1000, 32), (2000, 16), (2000, 32)),
    ),
    "dwave-samplers SA": _ladder("num_sweeps num_reads", (500, 1), (1000, 1), (2000, 1), (5000, 1), (10_000, 1)),
    "simulated-bifurcation ballistic": _TORCH_CUTS,
    "simulated-bifurcation discrete": _TORCH_CUTS,
}
# The references' settings for random couplings, with heat; the defaults are those of attention problems.
CUT_SETTINGS = {"coupling_strength": 0.5, "pump": (0.0, 1.0), "heating": 0.05}

_solve_batch = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)), static_argnums=2)
_energies = jax.jit(jax.vmap(lambda problem, bits: problem.energy(bits)))


@dataclasses.dataclass
class Trial:
    """One budget on all problems: settings, energy of each problem, seconds per problem."""

    settings: Budget
    energies: np.ndarray
    seconds: float

    def gaps(self, reference: np.ndarray) -> np.ndarray:
        """Gap of each problem."""
        return (self.energies - reference) / np.abs(reference)


@dataclasses.dataclass
class Climber:
    """A contestant on a ladder of budgets.

    `sample` takes a budget and returns the best bits of each problem, [problems, ...], and the seconds per problem; or
    None where that would take too long.
    """

    name: str
    budgets: list[Budget]
    sample: Callable[[Budget], tuple[Any, float] | None]
    trials: list[Trial] = dataclasses.field(default_factory=list)
    over_limit: bool = False

    def reached(self, reference: np.ndarray) -> Trial | None:
        """The first trial that meets the target."""
        return next((trial for trial in self.trials if trial.gaps(reference).mean() <= TARGET_GAP), None)

    def climb(self, problems: AttentionHamiltonian, reference: np.ndarray) -> bool:
        """Goes on up to the first budget that meets the target, lowers `reference`; whether anything was tried."""
        start = len(self.trials)
        while not (self.over_limit or self.reached(reference)) and len(self.trials) < len(self.budgets):
            budget = self.budgets[len(self.trials)]
            sampled = self.sample(budget)
            self.over_limit = sampled is None
            if sampled is not None:
                bits, seconds = sampled
                bits = jnp.asarray(bits, jnp.int8).reshape(problems.linear.shape)
                self.trials.append(Trial(budget, np.asarray(_energies(problems, bits), np.float64), seconds))
                np.minimum(reference, self.trials[-1].energies, out=reference)
                gap = self.trials[-1].gaps(reference).mean()
                print(f"  {self.name} {in_words(budget)}: gap {gap:.3%}, {seconds * 1e6:.0f} µs", flush=True)
        return len(self.trials) > start


def our_sampler(
    solver_class: type, problems: AttentionHamiltonian
) -> Callable[[Budget], tuple[Int8[Array, "problems heads tokens"], float]]:
    """`Climber.sample` of one of our solvers: the whole batch in one call, compiled before."""
    count = len(problems.linear)
    keys = jax.random.split(jax.random.key(_SEED + 1), count)

    def sample(budget: Budget) -> tuple[Int8[Array, "problems heads tokens"], float]:
        solver = solver_class(**budget)
        jax.block_until_ready(_solve_batch(keys, problems, solver))
        start = time.perf_counter()
        bits = jax.block_until_ready(_solve_batch(keys, problems, solver)).bits
        return bits, (time.perf_counter() - start) / count

    return sample


def peer_sampler(
    peer: opponents.Opponent, problems: AttentionHamiltonian, limit_s: float
) -> Callable[[Budget], tuple[np.ndarray, float] | None]:
    """`Climber.sample` of another project: one problem after another, after one that warms up and foretells."""
    count = len(problems.linear)
    models = [peer.prepare(jax.tree.map(lambda leaf, i=i: leaf[i], problems)) for i in range(count)]

    def sample(budget: Budget) -> tuple[np.ndarray, float] | None:
        _, foretold = peer.run(models[0], _SEED, **budget)
        if foretold * count > limit_s:
            return None
        bits, seconds = zip(*(peer.run(model, _SEED + i, **budget) for i, model in enumerate(models)), strict=True)
        return np.stack(bits), sum(seconds) / count

    return sample


def compete(shape: tuple[int, int, int], annealed: list[float], count: int, repeats: int, limit_s: float) -> dict:
    """All contestants on the first `count` problems of a shape."""
    problems = jax.tree.map(lambda leaf: leaf[:count], random_problems(shape, SHAPES[shape], _SEED))
    keys = jax.random.split(jax.random.key(_SEED), count)
    own = _solve_batch(keys, problems, SimulatedBifurcation(num_steps=200, num_reads=64)).energy
    reference = np.minimum(np.asarray(annealed[:count]), np.asarray(own, np.float64))

    climbers = [
        *(Climber(name, QAMA_BUDGETS[name], our_sampler(solver, problems)) for name, solver in OURS.items()),
        *(Climber(name, QAMA_BUDGETS[name], peer_sampler(peer, problems, limit_s)) for name, peer in PEERS.items()),
    ]
    # A lower reference may leave those behind that had met the target: until none has to go on.
    while any([climber.climb(problems, reference) for climber in climbers]):
        pass

    # The ladders' times are of one pass; these alternate, so that all see the same machine.
    winners = {climber.name: climber for climber in climbers if climber.reached(reference)}
    seconds: dict[str, list[float]] = {name: [] for name in winners}
    for _ in range(repeats):
        for name, climber in winners.items():
            sampled = climber.sample(climber.reached(reference).settings)
            if sampled is not None:
                seconds[name].append(sampled[1])
    rows = {climber.name: _summary_of(climber, reference, seconds.get(climber.name)) for climber in climbers}

    def median_s(name: str) -> float:
        return rows[name]["seconds_per_problem"]["median_s"]

    fastest = min((name for name in OURS if name in winners), key=median_s, default=None)
    for name in PEERS if fastest else ():
        rows[name]["ratio"] = median_s(name) / median_s(fastest)
    return {"shape": list(shape), "problems": count, "ours": fastest, "contestants": rows}


def _summary_of(climber: Climber, reference: np.ndarray, seconds: list[float] | None) -> dict[str, Any]:
    if not climber.trials:
        raise ValueError(f"no budget of {climber.name} fits into --limit; pass a longer one")
    trials = [
        {
            "settings": trial.settings,
            "mean_gap": float(trial.gaps(reference).mean()),
            "standard_error": float(trial.gaps(reference).std(ddof=1) / np.sqrt(len(reference))),
            "seconds_per_problem": trial.seconds,
        }
        for trial in climber.trials
    ]
    reached = climber.reached(reference)
    row: dict[str, Any] = {"reached": reached is not None, "stopped_at_the_time_limit": climber.over_limit}
    if reached is None:  # what came closest: its time is a lower bound
        best = min(trials, key=lambda trial: trial["mean_gap"])
        times = summary([best["seconds_per_problem"]])
    else:
        best = trials[climber.trials.index(reached)]
        times = summary(seconds or [reached.seconds])
    row |= {"settings": best["settings"], "mean_gap": best["mean_gap"], "standard_error": best["standard_error"]}
    return row | {"seconds_per_problem": times, "trials": trials}


class OwnSolver:
    """`SimulatedBifurcation` with the settings for MAX-CUT, as an `Opponent`; its clock is the wall time of `solve`."""

    name = "SimulatedBifurcation"

    def prepare(self, problem: Ising) -> Ising:
        return problem

    def run(self, model: Ising, seed: int, **budget: Any) -> tuple[np.ndarray, float]:
        solver, key = SimulatedBifurcation(**CUT_SETTINGS, **budget), jax.random.key(seed)
        start = time.perf_counter()
        solution = jax.block_until_ready(solve(key, model, solver))
        return np.asarray(solution.bits), time.perf_counter() - start


def cut(
    problem: Ising, target: float, contestant: opponents.Opponent, budgets: list[Budget], runs: int, limit_s: float
) -> dict[str, Any]:
    """The time to solution of a contestant at each budget, and the best of them."""
    model = contestant.prepare(problem)
    trials: list[dict[str, Any]] = []
    over_limit = False
    for budget in budgets:
        sampled = _repeat(functools.partial(contestant.run, model, **budget), runs, limit_s)
        over_limit = sampled is None
        if sampled is None:
            break
        bits, seconds = sampled
        energies = [float(problem.energy(jnp.asarray(read))) for read in bits]
        share, run_s = float(np.mean(np.array(energies) <= target)), statistics.median(seconds)
        trial = {"settings": budget, "runs": len(bits), "success_share": share, "run_s": run_s}
        trial |= {"best_energy": min(energies), "mean_energy": statistics.mean(energies)}
        # A fraction of a run cannot be had, and infinity has no place in JSON.
        trial["time_to_solution_s"] = max(run_s, float(time_to_solution(run_s, share))) if share else None
        trials.append(trial)
        outcome = f"{share:.0%} of {len(bits)} runs of {run_s:.2f} s, best {min(energies):.0f}"
        print(f"  {in_words(budget)}: {outcome}", flush=True)
    solved = [trial for trial in trials if trial["success_share"]]
    best = min(solved, key=lambda trial: trial["time_to_solution_s"], default=None)
    return {"best": best, "stopped_at_the_time_limit": over_limit, "trials": trials}


def _repeat(
    run: Callable[[int], tuple[np.ndarray, float]], runs: int, limit_s: float
) -> tuple[list[np.ndarray], list[float]] | None:
    """Bits and seconds of `runs` seeds, of fewer where the time limit cuts in, or None where one run exceeds it."""
    run(_SEED)  # compiles ours and warms the others up
    results: list[tuple[np.ndarray, float]] = []
    spent = 0.0
    for seed in range(_SEED, _SEED + runs):
        results.append(run(seed))
        elapsed = results[-1][1]
        spent += elapsed
        if len(results) == 1 and elapsed > limit_s:
            return None
        if len(results) >= MINIMAL_RUNS and spent + elapsed > limit_s:
            break
    bits, seconds = zip(*results, strict=True)
    return list(bits), list(seconds)


def _name(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _annealed_energies() -> dict[str, list[float]]:
    """The reference energies of `experiments.benchmarks.solver`, by shape."""
    stored = json.loads(_ANNEALED.read_text()) if _ANNEALED.exists() else {}
    annealed = stored.get("annealed", {})
    complete = all(len(annealed.get(_name(shape), ())) == count for shape, count in SHAPES.items())
    if not complete or stored["settings"]["seed"] != _SEED:
        raise ValueError(
            f"{_ANNEALED} lacks annealed energies of seed {_SEED}; run python -m experiments.benchmarks.solver first"
        )
    return annealed


def _peer() -> dict[str, Any]:
    """What a line says of the peers, after PyTorch's number of threads was chosen anew."""
    threads = opponents.choose_torch_threads(sorted({1, os.cpu_count() or 1}))
    print(f"PyTorch on {threads} threads", flush=True)
    return {"torch_threads": threads, "versions": provenance()["versions"] | opponents.versions()}


def measure_attention(lines: ResultLines, options: argparse.Namespace) -> None:
    """Every shape that the result file lacks."""
    annealed = _annealed_energies()
    settings = {"problems": options.problems, "repeats": options.repeats, "limit_s": options.limit}
    settings |= {"target_gap": TARGET_GAP, "budgets": QAMA_BUDGETS}
    for shape, available in SHAPES.items():
        header = {"part": "attention", "shape": shape, "settings": settings}
        if not options.fresh and lines.find(header) is not None:
            continue
        print(shape, flush=True)
        peer = _peer()
        count = min(options.problems, available)
        row = compete(shape, annealed[_name(shape)], count, options.repeats, options.limit)
        lines.add(header | peer | row)


def measure_cuts(lines: ResultLines, options: argparse.Namespace, selected: list[str]) -> None:
    """Every contestant on the selected instances that the result file lacks."""
    for instance in selected:
        problem, best = instances.load(options.instances, instance)
        for name, budgets in CUT_BUDGETS.items():
            settings = {"runs": options.runs, "limit_s": options.limit, "share_of_best": SHARE_OF_BEST}
            settings |= {"our_settings": CUT_SETTINGS, "budgets": budgets}
            header = {"part": "cuts", "instance": instance, "solver": name, "settings": settings}
            if not options.fresh and lines.find(header) is not None:
                continue
            print(f"{instance}, {name}", flush=True)
            peer = _peer()
            row = cut(problem, SHARE_OF_BEST * best, PEERS.get(name, OwnSolver()), budgets, options.runs, options.limit)
            lines.add(header | peer | row)


def main() -> None:
    """Measures what the result file lacks."""
    parser = make_parser(__doc__, FILE, problems=64, repeats=3, runs=10)
    parser.add_argument("--part", choices=("qama", *INSTANCES), help="by default all")
    parser.add_argument("--instances", type=Path, default=os.environ.get("QAMA_INSTANCES"), help="folder of K2000, G22")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that one budget of a contestant may take")
    parser.add_argument("--fresh", action="store_true", help="measure again what is in the result file")
    options = parser.parse_args()
    if options.problems < 2 or options.repeats < 1 or options.runs < MINIMAL_RUNS:
        parser.error(f"at least --problems 2, --repeats 1 and --runs {MINIMAL_RUNS} are needed")
    selected = [instance for part, instance in INSTANCES.items() if options.part in (None, part)]
    if selected and options.instances is None:
        parser.error("K2000 and G22 need --instances DIR or the variable QAMA_INSTANCES; --part qama does without")
    for instance in selected:
        if instance not in instances.names(options.instances):
            raise ValueError(f"{options.instances} has no {instance}; pass --part for what there is")

    lines = lines_of(options.result)
    if options.part in (None, "qama"):
        measure_attention(lines, options)
    measure_cuts(lines, options, selected)


if __name__ == "__main__":
    main()
