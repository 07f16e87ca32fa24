"""What a compiled program costs, read from its text: XLA's optimised HLO, loops multiplied by their trip counts.

XLA's own `cost_analysis` counts the body of a loop once, and gives nothing for GPUs.
"""

import collections
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# Instructions that only name, group or await what others compute.
_FREE = {
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast"}
_COLLECTIVES = {"all-gather", "all-reduce", "all-to-all", "collective-permute", "ragged-all-to-all", "reduce-scatter"}
# Moves of single entries, which accelerators do one after the other.
_MOVES = {"gather", "scatter", "sort"}
# Within a kernel, these read of an operand what they return.
_SLICES = {"dynamic-slice", "gather", "slice"}

_BITS = {"pred": 8, "token": 0, "bf16": 16, "c64": 64, "c128": 128}
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_TILE = re.compile(r"T\((\d+(?:,\d+)*)\)")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?)(?:^|\s)([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


class Cost(NamedTuple):
    """What one call of a program costs.

    Loops whose number of iterations depends on data count one iteration.

    Attributes:
      kernels: instructions that run as one, each counted as often as it runs.
      open_loops: kernels of one iteration of each loop that ends by what it computes; after each of them the end is
        checked.
      cycles: the compiler's own estimate, which TPUs have.
      unestimated: kernels without such an estimate.
      traffic_bytes: operands and results of kernels in the main memory, padded as they lie there: an upper bound.
      collectives: how often devices exchange data, by kind.
      moves: gathers, scatters and sorts, by kind.
    """

    kernels: int
    open_loops: list[int]
    cycles: int
    unestimated: int
    traffic_bytes: int
    collectives: dict[str, int]
    moves: dict[str, int]


class _Instruction(NamedTuple):
    name: str
    is_root: bool
    shape: str
    opcode: str
    operands: list[str]
    constant: str
    attributes: str


_Computation = dict[str, _Instruction]


def cost_of(text: str) -> Cost:
    """The cost of a program, from `compiled.as_text()`."""
    return _Walk(text).cost()


class _Walk:
    def __init__(self, text: str):
        self._computations, self._entry = _parse(text)
        self._counts: collections.Counter[str] = collections.Counter()
        self._open_loops: list[int] = []

    def cost(self) -> Cost:
        self._visit(self._entry, 1)

        def chosen(kinds: set[str]) -> dict[str, int]:
            return {kind: self._counts[kind] for kind in sorted(kinds) if self._counts[kind]}

        numbers = (self._counts[name] for name in ("kernels", "cycles", "unestimated", "traffic"))
        kernels, cycles, unestimated, traffic = numbers
        return Cost(kernels, self._open_loops, cycles, unestimated, traffic, chosen(_COLLECTIVES), chosen(_MOVES))

    def _visit(self, name: str, times: int) -> None:
        computation = self._computations[name]
        for instruction in computation.values():
            opcode = instruction.opcode
            if opcode == "while":
                self._visit_loop(instruction, computation, times)
            elif opcode in ("async-start", "call", "conditional"):
                for called in _called(instruction):
                    self._visit(called, times)
            elif not _is_free(instruction):
                self._count(instruction, computation, times)

    def _visit_loop(self, loop: _Instruction, computation: _Computation, times: int) -> None:
        condition, body = (re.search(rf"{role}=%?([\w.\-]+)", loop.attributes)[1] for role in ("condition", "body"))
        trips = self._trips(loop, computation, condition)
        if trips is not None:
            self._visit(body, times * trips)
            return
        before = self._counts["kernels"]
        self._visit(condition, times)
        self._visit(body, times)
        self._open_loops.append((self._counts["kernels"] - before) // times)

    def _trips(self, loop: _Instruction, computation: _Computation, condition: str) -> int | None:
        """How often a loop runs, None where that depends on data."""
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if known:
            return int(known[1])
        test = self._computations[condition]
        root = next(instruction for instruction in test.values() if instruction.is_root)
        if root.opcode != "compare" or "direction=LT" not in root.attributes:
            return None
        counter, limit = (test[name] for name in root.operands)
        place = re.search(r"index=(\d+)", counter.attributes)
        if limit.opcode != "constant" or counter.opcode != "get-tuple-element" or place is None:
            return None
        start = _source(computation, computation[loop.operands[0]].operands[int(place[1])])
        return int(limit.constant) - int(start.constant) if start.opcode == "constant" else None

    def _count(self, instruction: _Instruction, computation: _Computation, times: int) -> None:
        self._counts["kernels"] += times
        self._counts["traffic"] += times * self._traffic(instruction, computation)
        estimate = re.search(r'"estimated_cycles":"(\d+)"', instruction.attributes)
        self._counts["cycles"] += times * int(estimate[1]) if estimate else 0
        self._counts["unestimated"] += 0 if estimate else times
        for opcode in self._opcodes(instruction):
            if opcode in _COLLECTIVES | _MOVES:
                self._counts[opcode] += times

    def _opcodes(self, instruction: _Instruction) -> Iterator[str]:
        """What a kernel does, and what is fused into it."""
        yield instruction.opcode.removesuffix("-start")
        if instruction.opcode == "fusion":
            for called in _called(instruction):
                for inner in self._computations[called].values():
                    yield from self._opcodes(inner)

    def _traffic(self, instruction: _Instruction, computation: _Computation) -> int:
        # What starts returns its result first, and then what it works on.
        first = instruction.opcode.endswith("-start")
        total = sum(_main_memory(instruction.shape)[: 1 if first else None])
        for place, operand in enumerate(instruction.operands):
            total += self._read(instruction, place, sum(_main_memory(computation[operand].shape)))
        return total

    def _read(self, instruction: _Instruction, place: int, whole: int) -> int:
        """Bytes of an operand of `whole` bytes that a kernel reads."""
        users = [instruction] if place == 0 else []
        if instruction.opcode == "fusion":
            inner = self._computations[_called(instruction)[0]]
            parameter = next(i.name for i in inner.values() if i.opcode == "parameter" and i.constant == str(place))
            users = [i for i in inner.values() if parameter in i.operands]
        if users and all(user.opcode in _SLICES for user in users):
            return min(whole, sum(_bytes(*array) for user in users for array in _ARRAY.findall(user.shape)))
        return whole


def _parse(text: str) -> tuple[dict[str, _Computation], str]:
    """Its computations by their names, and the name of the one that is run."""
    computations: dict[str, _Computation] = {}
    name = entry = ""
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if head := _HEAD.match(line):
            name = head[2]
            computations[name] = {}
            entry = name if head[1] else entry
        elif found := _INSTRUCTION.match(line):
            inside, attributes = _split_at_closing(found[5])
            operands = re.findall(r"%([\w.\-]+)", inside)
            instruction = _Instruction(found[2], bool(found[1]), found[3], found[4], operands, inside, attributes)
            computations[name][found[2]] = instruction
    if not entry:
        raise ValueError(f"text must be a compiled program as XLA prints it, got {text[:80]!r}")
    return computations, entry


def _split_at_closing(text: str) -> tuple[str, str]:
    """What stands before and after the parenthesis that closes one opened before the text."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character in "({") - (character in ")}")
        if depth == 0:
            return text[:place], text[place + 1 :]
    raise ValueError(f"text must be a compiled program as XLA prints it, but no parenthesis closes {text[:80]!r}")


def _called(instruction: _Instruction) -> list[str]:
    branches = _BRANCHES.search(instruction.attributes)
    if branches:
        return re.findall(r"[\w.\-]+", branches[1])
    return _CALLED.findall(instruction.attributes)


def _is_free(instruction: _Instruction) -> bool:
    if instruction.opcode == "custom-call":
        target = re.search(r'custom_call_target="([^"]*)"', instruction.attributes)
        return target is not None and target[1] in _FREE_CALLS
    return instruction.opcode in _FREE or instruction.opcode.endswith("-done")


def _source(computation: _Computation, name: str) -> _Instruction:
    """Where a value comes from, copies and new names left out."""
    instruction = computation[name]
    while instruction.opcode in ("bitcast", "copy"):
        instruction = computation[instruction.operands[0]]
    return instruction


def _main_memory(shape: str) -> list[int]:
    """Bytes of each array that lies in the main memory, and not in one that is nearer, `S(1)` and more."""
    return [_bytes(*array) for array in _ARRAY.findall(shape) if not re.search(r"S\([1-9]", array[2])]


def _bytes(element: str, sizes: str, layout: str) -> int:
    """Of an array, filled up to whole tiles."""
    shape = [int(size) for size in sizes.split(",") if size]
    tile = _TILE.search(layout)
    if shape and tile:
        order = [int(axis) for axis in layout.split(":")[0].split(",")]
        sizes_from_minor = [shape[axis] for axis in order]
        for place, step in enumerate(reversed(tile[1].split(","))):
            sizes_from_minor[place] = -(-sizes_from_minor[place] // int(step)) * int(step)
        shape = sizes_from_minor
    return -(-math.prod(shape) * _bits(element) // 8)


def _bits(element: str) -> int:
    if element in _BITS:
        return _BITS[element]
    return int(re.search(r"\d+", element)[0])
