"""Which room of the package may know which: no upward import, and no circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "qama_jax"

# From the ground up; a room knows those below its own floor. Rooms of one floor do not know each other.
FLOORS = (
    {"batching", "checks", "checkpoint", "lengths", "seeds"},
    {"problems"},
    {"sampling", "analysis"},
    {"solvers"},
    {"hardware", "readouts", "dimod"},
    {"attention"},
    {"layers"},
    {"nnx", "linen", "cli"},
    {""},  # the package itself
)


def modules():
    """Paths by names within the package, "" for the package itself."""
    paths = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def imported(source, names):
    """The modules that a source imports, wherever it does, but for what only type checkers see."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                whole = {f"{child.module}.{alias.name}" for alias in child.names}
                found.update(name if _within(name) in names else child.module for name in whole)
            visit(child)

    visit(ast.parse(source))
    return {_within(name) for name in found if name.split(".")[0] == ROOT.name}


def _within(name):
    return name.removeprefix(ROOT.name).removeprefix(".")


def circle(imports):
    """A module that imports itself through others, by way of those; None where there is none."""
    finished = set()

    def follow(name, way):
        if name in way:
            return [*way[way.index(name) :], name]
        if name in finished:
            return None
        found = next(filter(None, (follow(other, [*way, name]) for other in sorted(imports[name]))), None)
        finished.add(name)
        return found

    return next(filter(None, (follow(name, []) for name in imports)), None)


@pytest.fixture(scope="module")
def imports():
    paths = modules()
    return {name: imported(path.read_text(), paths) for name, path in paths.items()}


def upward(imports):
    """Imports that do not go down."""
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    rooms = {name: name.split(".")[0] for name in imports}
    return [
        (name, other)
        for name, others in imports.items()
        for other in sorted(others)
        if rooms[name] != rooms[other] and floor[rooms[name]] <= floor[rooms[other]]
    ]


def test_every_room_has_a_floor(imports):
    assert {name.split(".")[0] for name in imports} == set().union(*FLOORS)


def test_no_upward_import(imports):
    assert upward(imports) == []
    assert upward(imports | {"problems.base": {"solvers.base"}}) == [("problems.base", "solvers.base")]
    assert upward(imports | {"nnx": {"linen"}}) == [("nnx", "linen")]


def test_no_circle(imports):
    assert circle(imports) is None
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_what_counts_as_an_import():
    source = """
from qama_jax.problems import Qubo, base
if TYPE_CHECKING:
    from qama_jax import layers
def f():
    import qama_jax.solvers
    from qama_jax.problems.base import Problem
    import numpy
"""
    names = {"", "problems", "problems.base", "solvers", "layers"}
    assert imported(source, names) == {"problems", "problems.base", "solvers"}
