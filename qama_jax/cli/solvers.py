"""Solvers by their names on the command line, and their settings."""

import argparse
import ast
import dataclasses
import inspect
from typing import Any

import qama_jax.solvers
from qama_jax.problems import Problem
from qama_jax.solvers import Solver
from qama_jax.solvers.auto import auto_solver

AUTO = "auto"


SOLVERS: dict[str, type] = {
    "simulated-bifurcation": qama_jax.solvers.SimulatedBifurcation,
    "mean-field-annealing": qama_jax.solvers.MeanFieldAnnealing,
    "steepest-descent": qama_jax.solvers.SteepestDescent,
    "simulated-annealing": qama_jax.solvers.SimulatedAnnealing,
    "iterated-annealing": qama_jax.solvers.IteratedAnnealing,
    "parallel-tempering": qama_jax.solvers.ParallelTempering,
    "path-integral-annealing": qama_jax.solvers.PathIntegralAnnealing,
    "block-gibbs": qama_jax.solvers.BlockGibbs,
    "coherent-ising-machine": qama_jax.solvers.CoherentIsingMachine,
    "exhaustive": qama_jax.solvers.Exhaustive,
}


def list_solvers(options: argparse.Namespace) -> None:
    """Prints the names of all, or the settings of one."""
    if options.name is None:
        described = {name: inspect.getdoc(solver) or "" for name, solver in {AUTO: auto_solver, **SOLVERS}.items()}
        width = max(map(len, described))
        for name, text in described.items():
            print(f"{name:{width}}  {text.splitlines()[0]}")
        return
    fields = dataclasses.fields(SOLVERS[options.name])
    for field in fields:
        print(f"{field.name} = {_default(field)}")
    if not fields:
        print(f"{options.name} has no settings")


def make_solver(options: argparse.Namespace, problem: Problem) -> Solver:
    """The solver that the options name, with their settings.

    Raises:
      ValueError: if it does not take them.
    """
    if options.solver == AUTO and options.set:
        raise ValueError(f"--set {options.set[0]}: name the solver whose setting it is by --solver")
    solver = auto_solver(problem) if options.solver == AUTO else SOLVERS[options.solver]()
    names = [field.name for field in dataclasses.fields(solver)]
    settings = dict(_parse_setting(text, names, options.solver) for text in options.set)
    if len(settings) < len(options.set):
        raise ValueError("--set: a setting is given twice; keep one")
    if options.reads is not None:
        if "num_reads" not in names:
            raise ValueError(f"--reads: {options.solver} makes {solver.num_reads} by its nature; leave it out")
        if "num_reads" in settings:
            raise ValueError("--reads and --set num_reads say the same; keep one")
        settings["num_reads"] = options.reads
    try:
        solver = dataclasses.replace(solver, **settings)
        hash(solver)
    except TypeError as error:
        raise ValueError(
            f"--set: {options.solver} does not take these settings ({error}); "
            f"see `qama-jax solvers {options.solver}`, and write sequences as tuples"
        ) from error
    return solver


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "(required)" if field.default is dataclasses.MISSING else repr(field.default)


def _parse_setting(text: str, names: list[str], solver: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: expected NAME=VALUE")
    if name not in names:
        raise ValueError(f"--set: {solver} has no setting {name!r}; it has {', '.join(names) or 'none'}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"--set: the value of {name} is not a Python literal: {value}; write strings in quotes, \"{name}='text'\""
        ) from error
