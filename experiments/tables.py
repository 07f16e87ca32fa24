"""Writes the measured tables of the README from the result files.

    python -m experiments.tables

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`.
"""

import json
import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_RESULTS = _ROOT / "experiments" / "results"


def _load(name: str) -> dict[str, Any]:
    return json.loads((_RESULTS / f"{name}.json").read_text())


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def solver_table() -> str:
    """Gap and time of the default solver."""
    rows = []
    for row in _load("benchmark_solver")["rows"]:
        times = " / ".join(f"{row['seconds_per_problem'][batch]['median_s'] * 1e6:.0f}" for batch in ("64", "256"))
        gap = f"{row['mean_gap']:.2%} ± {row['standard_error']:.2%}"
        at_best = f"{row['share_at_reference']:.0%}"
        rows.append((str(tuple(row["shape"])), str(row["problems"]), gap, at_best, times))
    header = ("(H, N, D)", "problems", "mean gap ± standard error", "at the reference", "µs a problem, batch 64 / 256")
    return _table(header, rows)


def softmax_table() -> str:
    """Forward and backward time against softmax attention."""
    rows = [
        (
            f"{row['tokens']:,}",
            str(row["batch"]),
            f"{row['softmax']['median_s'] * 1e3:.1f}",
            f"{row['qama']['median_s'] * 1e3:.1f}",
            f"{row['ratio']:.3f}",
        )
        for row in _load("benchmark_layer")["against_softmax"]
    ]
    return _table(("N", "batch", "softmax, ms", "QAMA, ms", "ratio"), rows)


def scaling_table() -> str:
    """Forward and backward time over the length."""
    result = _load("benchmark_layer")
    rows = [
        (f"{int(tokens):,}", f"{times['median_s'] * 1e3:.0f} ms")
        for tokens, times in result["scaling"]["seconds"].items()
    ]
    longest = result["longest"]
    rows.append(
        (f"{longest['tokens']:,}", f"{longest['seconds']:.1f} s, {longest['peak_resident_gb']:.1f} GB peak memory")
    )
    exponent = f"\n\nExponent from 4,096 to 65,536 tokens: {result['scaling']['exponent']:.2f}."
    return _table(("N", "forward + backward"), rows) + exponent


def training_table() -> str:
    """Accuracy of the three arms on CIFAR-10."""
    rows = []
    for depth in (1, 2):
        for attention in ("none", "softmax", "qama"):
            result = _load(f"vit_cifar10_25k_depth{depth}_{attention}")
            rows.append(
                (
                    str(depth),
                    attention,
                    f"{result['last_accuracy']:.1%}",
                    f"{result['best_accuracy']:.1%}",
                    f"{result['parameters']:,}",
                )
            )
    return _table(("blocks", "attention", "last epoch", "best epoch", "parameters"), rows)


TABLES = {"solver": solver_table, "softmax": softmax_table, "scaling": scaling_table, "training": training_table}


def with_tables(text: str) -> str:
    """`text` with every table replaced by the one of the result files."""

    def replace(match: re.Match) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- table:(\w+) -->).*?(<!-- /table -->)", replace, text, flags=re.DOTALL)


def main() -> None:
    """Rewrites the README."""
    readme = _ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    main()
