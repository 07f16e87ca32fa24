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
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from experiments.data.prepared import DataNotFoundError
from experiments.devices import add_cluster_options, is_writer, join_cluster
from experiments.provenance import provenance
from experiments.reproduce import registry
from experiments.reproduce.budgets import BUDGETS
from experiments.reproduce.queue import Places, estimate, execute
from experiments.reproduce.report import write_report
from experiments.reproduce.study import Study, read_results
from experiments.tables import Table
from experiments.train.run import Run

# Options by which runs can be chosen, of the attributes that they have.
_CHOSEN = {"datasets": "dataset", "cases": "case", "arms": "arm"}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    studies = registry.STUDIES
    tables = list(dict.fromkeys(study.paper_table for study in studies if study.paper_table))
    figures = sorted(number for study in studies for number in study.paper_figures)
    parser.add_argument("--table", nargs="+", choices=tables, default=[], help="of the paper")
    parser.add_argument("--figure", nargs="+", type=int, choices=figures, default=[], help="of the paper")
    parser.add_argument("--study", nargs="+", choices=[study.name for study in studies], default=[])
    parser.add_argument("--budget", choices=BUDGETS, default="paper", help="epochs and examples (default: paper)")
    parser.add_argument("--quick", dest="budget", action="store_const", const="quick", help="--budget quick")
    parser.add_argument("--minutes", type=float, help="of each run at equal training time (default: the budget's)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of all runs (default: 0)")
    every = [run for study in studies for run in study.runs(BUDGETS["quick"], 0)]
    for option, attribute in _CHOSEN.items():
        known = sorted({getattr(run, attribute) for run in every})
        parser.add_argument(f"--{option}", nargs="+", choices=known, metavar=attribute.upper(), help="(default: all)")
    parser.add_argument("--run-dir", type=Path, help="work under way, checkpoints (default: runs/reproduce/BUDGET)")
    parser.add_argument("--output", type=Path, help="results, figures and report (default: the same)")
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/data"), help="decoded data sets")
    add_cluster_options(parser)
    return parser.parse_args(arguments)


def asked_studies(options: argparse.Namespace) -> list[Study]:
    """Those of the tables, figures and studies that are asked for; all of them where none is."""
    if not (options.table or options.figure or options.study):
        return list(registry.STUDIES)
    return [
        study
        for study in registry.STUDIES
        if study.name in options.study
        or study.paper_table in options.table
        or set(study.paper_figures) & set(options.figure)
    ]


def asked_runs(options: argparse.Namespace) -> list[Run]:
    """Of the studies, without those of data sets, cases and arms that are not asked for; a seed before the next."""
    budget = BUDGETS[options.budget]
    if options.minutes is not None:
        budget = budget._replace(minutes=options.minutes)
    runs = [run for seed in options.seeds for study in asked_studies(options) for run in study.runs(budget, seed)]
    chosen = {attribute: getattr(options, option) for option, attribute in _CHOSEN.items()}
    return [
        run
        for run in dict.fromkeys(runs)
        if all(values is None or getattr(run, attribute) in values for attribute, values in chosen.items())
    ]


def reproduce(options: argparse.Namespace) -> dict[str, Table]:
    """Runs what is missing and writes the report; returns the tables for which there are results by now.

    Of several processes, all run, the first one reports, and the others return no tables.
    """
    run_dir = options.run_dir or Path("runs/reproduce") / options.budget
    places = Places(options.output or run_dir, run_dir, options.cache_dir)
    runs = asked_runs(options)
    if options.budget == "paper":
        expected = estimate(runs, places)
        if is_writer():
            print(expected)
    execute(runs, places, {study.name: study.carry_out for study in registry.STUDIES})
    if not is_writer():
        return {}
    results = read_results(places.output)
    tables = {study.name: table for study in registry.STUDIES if (table := study.table(results)) is not None}
    figures = {}
    for study in registry.STUDIES:
        figures |= study.figure(results, places.output / "figures")
    write_report(
        places.output / "report.html",
        budget=options.budget,
        tables=list(tables.values()),
        figures=figures,
        results=results,
        provenance=provenance(),
    )
    print(f"report: {places.output / 'report.html'}")
    return tables


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
    for study in asked_studies(options):
        if study.name in tables:
            _print(tables[study.name])


if __name__ == "__main__":
    main()
