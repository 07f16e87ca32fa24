"""All tables of benchmarks by their places in the README. To add one, write its file and name its table here."""

from collections.abc import Callable
from functools import partial

from experiments.benchmarks import (
    command_line,
    constrained,
    drop_in,
    equal_time,
    family,
    layer,
    peer_lines,
    precision,
    readout_cost,
    small_optima,
    solver,
    sparse_sweep,
    sweep,
    time_to_solution,
    token_kinds,
)
from experiments.benchmarks.general_lines import table_of
from experiments.tables import Table

TABLES: dict[str, Callable[[], Table]] = {
    "family": family.attention_table,
    "optima": family.optima_table,
    "solver": solver.table,
    "token_kinds": token_kinds.table,
    "constrained": constrained.table,
    "peers": peer_lines.attention_table,
    "cuts": peer_lines.cuts_table,
    "sweep": sweep.table,
    "general_cuts": partial(table_of, "cuts", equal_time.make_table),
    "general_sweeps": partial(table_of, "sweeps", sparse_sweep.make_table),
    "general_optima": partial(table_of, "optima", small_optima.make_table),
    "general_tts": partial(table_of, "tts", time_to_solution.make_table),
    "general_file": partial(table_of, "file", command_line.make_table),
    "softmax": layer.softmax_table,
    "scaling": layer.scaling_table,
    "drop_in": drop_in.table,
    "readout_cost": readout_cost.cost_table,
    "readout_scaling": readout_cost.scaling_table,
    "precision": precision.table,
}
