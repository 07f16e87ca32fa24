"""Reproduces the tables and figures of the paper.

    python -m experiments.reproduce --table III --budget reduced
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.data.prepared import DataNotFoundError
from experiments.reproduce.budgets import BUDGETS, DATASETS, table_runs
from experiments.reproduce.queue import Places, execute


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.reproduce",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--budget", choices=BUDGETS, default="paper")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--cache-dir", type=Path, default=Path("runs/data"), help="decoded data sets")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    run_dir = options.run_dir or Path("runs/reproduce") / options.budget
    places = Places(options.output or run_dir, run_dir / "checkpoints", options.cache_dir)
    budget = BUDGETS[options.budget]
    try:
        results = execute(table_runs(budget, tuple(options.datasets), tuple(options.seeds)), places)
    except (DataNotFoundError, ValueError) as error:
        sys.exit(f"reproduce: {error}")
    for name, r in results.items():
        print(name, r["last_accuracy"], r["best_accuracy"])


if __name__ == "__main__":
    main()
