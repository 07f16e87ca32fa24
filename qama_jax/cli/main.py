"""The command `qama-jax`: solves a file, and lists the solvers."""

import argparse
import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path

from qama_jax.cli.solvers import AUTO, SOLVERS, list_solvers
from qama_jax.cli.solving import solve_file
from qama_jax.problems.formats import FORMATS


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; the arguments are by default those of the process.

    Raises:
      SystemExit: with code 2, and one line on stderr, where the arguments or the file are not as they should be; with
        code 130 where Ctrl-C came before there was a state.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, MemoryError) as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted before there was a state\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("qama-jax", description="Minimises QUBO, Ising and MAX-CUT problems with JAX.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {importlib.metadata.version('qama-jax')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    solving = commands.add_parser(
        "solve",
        help="solve the problem in a file and print the result as JSON",
        epilog="Ctrl-C ends the search and prints the best state so far.",
    )
    solving.set_defaults(run=solve_file)
    solving.add_argument("file", help="the problem, also compressed by gzip; - for standard input")
    solving.add_argument("--format", choices=FORMATS, help="by default told from the content")
    solving.add_argument(
        "--graph", action="store_true", help="a matrix or a list of edges is a graph whose largest cut is sought"
    )
    solving.add_argument(
        "--solver", choices=(AUTO, *SOLVERS), default=AUTO, metavar="NAME", help="(default: %(default)s)"
    )
    solving.add_argument(
        "--reads", type=int, metavar="N", help="independent runs; with --time-limit or --target, those of one call"
    )
    solving.add_argument("--time-limit", type=_seconds, metavar="TIME", help="run for so long: 10s, 2m, 1h")
    solving.add_argument("--target", type=float, metavar="ENERGY", help="run until there is a state as good as this")
    solving.add_argument("--maximize", action="store_true", help="look for the largest energy instead of the smallest")
    solving.add_argument("--seed", type=int, help="integer below 2**32; by default a fresh one")
    solving.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the solver")
    solving.add_argument("--states", action="store_true", help="print every distinct state found, with its count")
    cache = solving.add_mutually_exclusive_group()
    cache.add_argument(
        "--compilation-cache",
        type=Path,
        metavar="DIR",
        help="keep compiled programs there, for the next problem of a size (default: the user's cache)",
    )
    cache.add_argument("--no-cache", action="store_true", help="keep no compiled programs")
    solving.add_argument("--output", type=Path, metavar="FILE", help="where to write the JSON, instead of stdout")

    listing = commands.add_parser("solvers", help="list the solvers, or the settings of one")
    listing.set_defaults(run=list_solvers)
    listing.add_argument("name", nargs="?", choices=SOLVERS, metavar="NAME")
    return parser


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|h)?", text.strip())
    if not found or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0 such as 10s, 2m or 1h")
    return float(found[1]) * {None: 1, "s": 1, "m": 60, "h": 3600}[found[2]]
