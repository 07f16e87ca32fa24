"""Imports within `experiments` go one way."""

import ast
from pathlib import Path

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
# From the ground up; a room may import from those below it and from itself. What is named first, counts.
FLOORS = (
    ("paper", "tables", "provenance", "timing", "devices"),
    ("result_files",),
    ("data",),
    ("models",),
    ("attention_arms", "causal_arms"),
    ("train",),
    ("look",),
    ("figures",),
    ("benchmarks",),
    ("reproduce.budgets", "reproduce.spread"),
    ("reproduce.queue", "reproduce.curves"),
    ("reproduce.study",),
    ("reproduce.studies", "reproduce.report"),
    ("reproduce.registry",),
    ("reproduce",),
    ("vit_cifar", "train_lm", "recall", "bag_of_words", "hardware"),
    ("demo", "readme"),
)


def room_of(module):
    """Its number of the floor, and its name there."""
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if module == room or module.startswith(f"{room}."):
                return floor, room
    raise AssertionError(f"{module} is in no room")


def imports(path):
    """Modules of `experiments` that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "experiments":
            module = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                is_module = (EXPERIMENTS / inner.replace(".", "/")).with_suffix(".py").exists()
                yield inner if is_module or not module else module


def test_imports_go_one_way():
    seen = 0
    for path in EXPERIMENTS.rglob("*.py"):
        module = ".".join(path.relative_to(EXPERIMENTS).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        for imported in imports(path):
            (floor, room), (other, other_room) = room_of(module), room_of(imported)
            assert floor > other or room == other_room, f"{module} imports {imported}"
            seen += 1
    assert seen > 200
