"""What QAMA costs on accelerators by their compilers, which need no device: TPU v5e and v6e, NVIDIA H200.

    make compiled       (about two hours on one core; `--parts core --names energy softmax` and the like choose rows)

Times of TPUs are the compilers' own estimates of cycles, at an assumed clock. They have none for some gathers and for
tiny operations, and none at all for programs with kernels of Pallas. There is no estimate for GPUs. Loops whose end
depends on data count one iteration. The result file grows after each row, and an interrupted benchmark goes on where it
stopped.
"""

import functools
import importlib.metadata
import time
from pathlib import Path
from typing import Any

import jax
from jax.sharding import NamedSharding, SingleDeviceSharding

from experiments.benchmarks.harness import make_parser
from experiments.benchmarks.programs import cost_of
from experiments.benchmarks.targets import TARGETS, Target, compile_elsewhere_only, devices
from experiments.result_files import RESULTS, Result, ResultLines
from experiments.tables import Table

FILE = "benchmark_compiled.jsonl"
PARTS = ("core", "layer", "sharded", "solver", "sparse")
# What TPUs call kernels of Pallas, for which their compiler estimates no time.
_PALLAS = 'custom_call_target="tpu_custom_call"'
_EXTRA = "pip install 'qama-jax[compiled]'"


def lines_of(path: Path) -> ResultLines:
    """A line for each program and target."""
    return ResultLines(path, "target", "part", "name", "pass", "tokens", "dtype")


def measure(function: Any, arguments: tuple[Any, ...], specs: tuple[Any, ...] | None, target: Target) -> Result:
    """Compiles a function of arguments of these shapes, and says what the program costs."""
    mesh = devices(target)

    def place(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    if specs is None:
        shardings = [SingleDeviceSharding(mesh.devices[0])] * len(arguments)
    else:
        shardings = [NamedSharding(mesh, spec) for spec in specs]
    placed = map(place, arguments, shardings)
    start = time.perf_counter()
    compiled = jax.jit(function).trace(*placed).lower().compile()
    seconds = time.perf_counter() - start
    text = compiled.as_text()
    cost = cost_of(text)._asdict()
    cycles = cost.pop("cycles")
    is_estimated = target.ghz is not None and _PALLAS not in text
    return cost | {
        "milliseconds": cycles / target.ghz / 1e6 if is_estimated else None,
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "compile_s": seconds,
        "compiler": f"{target.package} {importlib.metadata.version(target.package)}",
    }


def _try(*arguments: Any) -> Result:
    """What `measure` says, or why there is no such program."""
    try:
        return measure(*arguments)
    except Exception as error:  # of the compilers, which raise all kinds
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


def _cell(row: Result | None, name: str, scale: float, digits: int) -> str:
    value = None if row is None else row.get(name)
    return "–" if value is None else f"{value * scale:,.{digits}f}"


def attention_table(part: str) -> Table:
    """Attention against softmax: time by the TPU's compilers, traffic, memory, kernels, time to compile."""
    found = _by_target(part)
    rows = []
    programs = dict.fromkeys(key[1:] for key in found)
    for name, kind, tokens, dtype in sorted(programs, key=lambda program: (program[3] != "float32", *program[2:0:-1])):
        own = {target.name: found.get((target.name, name, kind, tokens, dtype)) for target in TARGETS}
        softmax = {target.name: found.get((target.name, "softmax", kind, tokens, dtype)) for target in TARGETS}
        cells = []
        for tpu in ("v5e", "v6e"):
            cells += [_cell(own[tpu], "milliseconds", 1, 2), _ratio(own[tpu], softmax[tpu])]
        for target in ("v5e", "H200"):
            cells += [_cell(own[target], "traffic_bytes", 1e-6, 0), _cell(own[target], "temporary_bytes", 1e-6, 0)]
        cells += [_kernels(own["H200"]), _cell(own["v5e"], "compile_s", 1, 0), _cell(own["H200"], "compile_s", 1, 0)]
        rows.append(" | ".join((f"{tokens:,}", dtype, kind, name, *cells)))
    header = (
        "N | type | pass | attention | v5e, ms | ÷ softmax | v6e, ms | ÷ softmax | v5e: traffic, MB | temporary, MB | "
        "H200: traffic, MB | temporary, MB | kernels | compile for v5e, s | for H200, s"
    )
    return Table.of(header, rows)


def solver_table() -> Table:
    """Solvers for attention, and for a sparse problem."""
    found = _by_target("solver") | _by_target("sparse")
    rows = []
    for name, *others in dict.fromkeys(key[1:] for key in found):
        own = {target.name: found.get((target.name, name, *others)) for target in TARGETS}
        problem = "sparse" if next(row for row in own.values() if row)["part"] == "sparse" else "attention"
        cells = [_cell(own[tpu], "milliseconds", 1, 1) for tpu in ("v5e", "v6e")]
        compile_s = (_cell(own[target], "compile_s", 1, 0) for target in ("v5e", "H200"))
        update = "update='block'" if "update='block'" in name else ""
        rows.append(
            " | ".join((f"`{name.split('(')[0]}({update})`", problem, *cells, _kernels(own["H200"]), *compile_s))
        )
    return Table.of("solver | problem | v5e, ms | v6e, ms | kernels on H200 | compile for v5e, s | for H200, s", rows)


def sharded_table() -> Table:
    """What four devices send each other."""
    found = _by_target("sharded")
    rows = []
    for name, kind, *others in dict.fromkeys(key[1:] for key in found):
        cells = [_collectives(found.get((target.name, name, kind, *others))) for target in TARGETS]
        rows.append(" | ".join((name, kind, *cells)))
    return Table.of(f"sharded | pass | {' | '.join(target.name for target in TARGETS)}", rows)


def _by_target(part: str) -> dict[tuple[Any, ...], Result]:
    lines = (line for line in lines_of(RESULTS / FILE).read() if line["part"] == part)
    return {tuple(line.get(n) for n in ("target", "name", "pass", "tokens", "dtype")): line for line in lines}


def _ratio(row: Result | None, softmax: Result | None) -> str:
    if not row or not softmax or not row.get("milliseconds") or not softmax.get("milliseconds"):
        return "–"
    return f"{row['milliseconds'] / softmax['milliseconds']:.2f}"


def _kernels(row: Result | None) -> str:
    """With those of an iteration of each loop without a fixed end."""
    if row is None or "kernels" not in row:
        return "–"
    loops = "".join(f" ({kernels})" for kernels in row["open_loops"])
    return f"{row['kernels']:,}{loops}"


def _collectives(row: Result | None) -> str:
    if row is None or "collectives" not in row:
        return "–"
    return ", ".join(f"{count} {kind}" for kind, count in row["collectives"].items()) or "none"


TABLES = {
    "compiled_core": functools.partial(attention_table, "core"),
    "compiled_layer": functools.partial(attention_table, "layer"),
    "compiled_sharded": sharded_table,
    "compiled_solvers": solver_table,
}


def main() -> None:
    """Compiles what the result file lacks."""
    parser = make_parser(__doc__, FILE)
    names = [target.name for target in TARGETS]
    parser.add_argument("--targets", nargs="+", choices=names, default=names, help="devices")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--names", nargs="+", help="of rows, beginnings; all if not given")
    parser.add_argument("--fresh", action="store_true", help="compile again what is there")
    options = parser.parse_args()
    compile_elsewhere_only()
    from experiments.benchmarks.compiled_cases import cases  # asks JAX for arrays

    lines = lines_of(options.result)
    for target in TARGETS:
        if target.name not in options.targets:
            continue
        if not target.is_installed():
            print(f"{target.name}: skipped, for want of its compiler, {target.package}; {_EXTRA}", flush=True)
            continue
        for case in cases(target):
            chosen = options.names is None or case.header["name"].startswith(tuple(options.names))
            if chosen and case.header["part"] in options.parts:
                header = {"target": target.name, **case.header}
                compile_it = functools.partial(_try, case.function, case.arguments, case.specs, target)
                lines.fill(header, compile_it, fresh=options.fresh)


if __name__ == "__main__":
    main()
