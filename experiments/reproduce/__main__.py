"""Reproduces the tables and figures of the paper: all arms under one budget, resumable.

    python -m experiments.reproduce --table III                    # the paper's 50 epochs: for a GPU or TPU
    python -m experiments.reproduce --table III --budget reduced   # two CPU cores
    python -m experiments.reproduce --table VII IV V --figure 6 7 --budget reduced --seeds 0 1 2
    python -m experiments.reproduce --quick                        # everything, in minutes, to see that it works

What is done is skipped, what was interrupted goes on where it was. The same command writes all tables and figures for
which there are results into report.html. Batches are spread over all devices; with `--distributed`, over those of all
processes, which share the directories, see `vit_cifar.py`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from experiments.data.prepared import DataNotFoundError
from experiments.look import look_inside
from experiments.provenance import provenance, write_json
from experiments.reproduce.arms import ARMS, PUBLISHED
from experiments.reproduce.budgets import BUDGETS, DATASETS, factor_runs, step_runs, table_runs
from experiments.reproduce.queue import Places, estimate, execute, trained_model
from experiments.reproduce.readouts import CASES, readout_runs
from experiments.reproduce.report import write_report
from experiments.reproduce.results import make_figures, make_tables, read_results
from experiments.reproduce.speed import measure
from experiments.reproduce.studies import solver_gap
from experiments.reproduce.tables import Table
from experiments.reproduce.variants import variant_runs
from experiments.train.devices import add_cluster_options, is_writer, join_cluster
from experiments.train.run import Run

TABLES = ("I", "III", "IV", "V", "VII")
FIGURES = (2, 3, 4, 5, 6, 7)
STUDIES = ("steps", "factors", "readouts", "speed")
_DOG = 5


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", nargs="+", choices=TABLES, default=[], help="of the paper; I is of settings")
    parser.add_argument("--figure", nargs="+", type=int, choices=FIGURES, default=[], help="of the paper")
    parser.add_argument("--study", nargs="+", choices=STUDIES, default=[], help="of ours")
    parser.add_argument("--budget", choices=BUDGETS, default="paper", help="epochs and examples (default: paper)")
    parser.add_argument("--quick", dest="budget", action="store_const", const="quick", help="--budget quick")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of all runs (default: 0)")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), help="(default: all)")
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), help="of the read-outs (default: all)"
    )
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=list(ARMS), help="of Table III and the read-outs (default: all)"
    )
    parser.add_argument("--run-dir", type=Path, help="checkpoints (default: runs/reproduce/BUDGET)")
    parser.add_argument("--output", type=Path, help="results, figures and report (default: the same)")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/data"), help="decoded data sets")
    add_cluster_options(parser)
    options = parser.parse_args(arguments)
    if not (options.table or options.figure or options.study):
        options.table, options.figure, options.study = list(TABLES), list(FIGURES), list(STUDIES)
    return options


def reproduce(options: argparse.Namespace) -> dict[str, Table]:
    """Runs what is missing and writes the report; returns the tables for which there are results by now.

    Of several processes, all run, the first one reports, and the others return no tables.
    """
    budget = BUDGETS[options.budget]
    run_dir = options.run_dir or Path("runs/reproduce") / options.budget
    places = Places(options.output or run_dir, run_dir / "checkpoints", options.cache_dir)
    seeds = tuple(options.seeds)
    runs = table_runs(budget, DATASETS, seeds)

    asked = _asked(runs, options) | variant_runs(budget, _variants(options), tuple(options.datasets), seeds)
    if options.budget == "paper":
        expected = estimate(asked, places)
        if is_writer():
            print(expected)
    execute(asked, places)
    if {3, 4, 5} & set(options.figure):
        name = f"cifar10_qama_seed{seeds[0]}"
        _look(name, runs[name], places)
    if "steps" in options.study:
        _study_steps(step_runs(budget, seeds), places)
    if "factors" in options.study:
        execute(factor_runs(budget, seeds), places)
    if "readouts" in options.study:
        execute(readout_runs(budget, seeds, tuple(options.cases), tuple(options.arms)), places)
    if "speed" in options.study:
        _study_speed({run.dataset: run for name, run in runs.items() if "_qama_" in name}, places)

    if not is_writer():
        return {}
    results = read_results(places.output)
    tables = make_tables(results)
    write_report(
        places.output / "report.html",
        budget=options.budget,
        tables=list(tables.values()),
        figures=make_figures(results, places.output / "figures"),
        runs=results.runs
        | results.steps
        | results.factors
        | results.readouts
        | results.heads
        | results.lengths
        | results.mechanisms,
        provenance=provenance(),
    )
    print(f"report: {places.output / 'report.html'}")
    return tables


def _asked(runs: dict[str, Run], options: argparse.Namespace) -> dict[str, Run]:
    """Those of the runs of Table III that the tables and figures asked for need."""
    asked = {}
    for name, run in runs.items():
        arm = name.split("_seed")[0].removeprefix(f"{run.dataset}_")
        for_tables = bool({"I", "III"} & set(options.table)) and run.dataset in options.datasets and arm in options.arms
        for_roc = 2 in options.figure and arm in PUBLISHED and run.is_text and run.dataset in options.datasets
        for_look = bool({3, 4, 5} & set(options.figure)) and name.startswith("cifar10_qama_")
        if for_tables or for_roc or (for_look and run.training.seed == options.seeds[0]):
            asked[name] = run
    return asked


def _variants(options: argparse.Namespace) -> tuple[str, ...]:
    """Those of Tables IV, V and VII that are asked for, or drawn in a figure that is."""
    drawn = {"IV": 6, "V": 7, "VII": None}
    return tuple(table for table, figure in drawn.items() if table in options.table or figure in options.figure)


def _look(name: str, run: Run, places: Places) -> None:
    """Looks at the first dog of the test images, the paper's motif."""
    path = places.output / "look.json"
    if path.exists() and json.loads(path.read_text())["run"] == name:
        return
    model, data = trained_model(name, run, places)
    index = int(np.argmax(data.test_labels == _DOG))
    look = look_inside(model, data.test_inputs[index])
    write_json(
        path,
        {
            "run": name,
            "dataset": run.dataset,
            "index": index,
            "grid": model.grid,
            "image": data.test_inputs[index].tolist(),
            "energy": look.energy,
            "bits": look.bits.tolist(),
            "token_energy": _rounded(look.token_energy),
            "features": _rounded(look.features),
            "flipped": _rounded(look.flipped),
        }
        | provenance(),
    )


def _study_steps(runs: dict[str, Run], places: Places) -> None:
    execute(runs, places)
    path = places.output / "gaps.json"
    gaps = json.loads(path.read_text())["gaps"] if path.exists() else {}
    missing = {name: run for name, run in runs.items() if name not in gaps}
    if missing:
        gaps |= {name: solver_gap(name, run, places) for name, run in missing.items()}
        write_json(path, {"gaps": gaps} | provenance())


def _study_speed(runs: dict[str, Run], places: Places) -> None:
    path = places.output / "speed.json"
    if not path.exists():
        datasets = {dataset: measure(run, run.load(places.data), repeats=9) for dataset, run in runs.items()}
        write_json(path, {"datasets": datasets} | provenance())


def _rounded(array: np.ndarray) -> list:
    return np.round(array.astype(np.float64), 4).tolist()


def _print(table: Table) -> None:
    grid = RichTable(*table.header, title=table.title, caption=table.note or None)
    for row in table.rows:
        grid.add_row(*row)
    Console().print(grid)


def main() -> None:
    """Runs the command line; errors of the user are one line."""
    options = parse_arguments()
    join_cluster(options)
    try:
        tables = reproduce(options)
    except (DataNotFoundError, ValueError) as error:
        sys.exit(f"reproduce: {error}")
    asked = {*options.table, *options.study} | ({"costs", "claims"} if "VII" in options.table else set())
    for name, table in tables.items():
        if name in asked:
            _print(table)


if __name__ == "__main__":
    main()
