"""Writes the measured tables of the two READMEs from the result files.

    python -m experiments.readme

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`.
"""

import functools
import re
from pathlib import Path

from experiments import benchmark_tables as benchmarks
from experiments import general_tables as general
from experiments.reproduce.results import make_tables, read_results

_ROOT = Path(__file__).parent.parent
_RESULTS = _ROOT / "experiments" / "results"
READMES = (_ROOT / "README.md", _ROOT / "experiments" / "README.md")


def _reproduced(name: str) -> str:
    """A table of the reproduction under the reduced budget."""
    return make_tables(read_results(_RESULTS / "reproduce"))[name].markdown()


TABLES = {
    "choice": benchmarks.choice_table,
    "settings": functools.partial(_reproduced, "I"),
    "accuracy": functools.partial(_reproduced, "III"),
    "heads": functools.partial(_reproduced, "IV"),
    "lengths": functools.partial(_reproduced, "V"),
    "mechanisms": functools.partial(_reproduced, "VII"),
    "mechanism_cost": functools.partial(_reproduced, "costs"),
    "claims": functools.partial(_reproduced, "claims"),
    "steps": functools.partial(_reproduced, "steps"),
    "readouts": functools.partial(_reproduced, "readouts"),
    "readout_cost": benchmarks.readout_cost_table,
    "readout_scaling": benchmarks.readout_scaling_table,
    "words": benchmarks.words_table,
    "factors": functools.partial(_reproduced, "factors"),
    "speed": functools.partial(_reproduced, "speed"),
    "constrained": benchmarks.constrained_table,
    "token_kinds": benchmarks.token_kinds_table,
    "drop_in": benchmarks.drop_in_table,
    "precision": benchmarks.precision_table,
    "hardware": benchmarks.hardware_table,
    "family": benchmarks.family_table,
    "optima": benchmarks.optima_table,
    "sweep": benchmarks.sweep_table,
    "solver": benchmarks.solver_table,
    "peers": benchmarks.peers_table,
    "cuts": benchmarks.cuts_table,
    "general_cuts": general.equal_time_table,
    "general_sweeps": general.sparse_sweep_table,
    "general_optima": general.small_optima_table,
    "general_tts": general.time_to_solution_table,
    "general_file": general.command_line_table,
    "softmax": benchmarks.softmax_table,
    "scaling": benchmarks.scaling_table,
    "training": benchmarks.training_table,
}


def with_tables(text: str) -> str:
    """`text` with every table replaced by the one of the result files."""

    def replace(match: re.Match) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table:(\w+) -->).*?(<!-- /table -->)", replace, text, flags=re.DOTALL)


def main() -> None:
    """Rewrites both."""
    for readme in READMES:
        readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    main()
