"""Writes the measured tables of the two READMEs from the result files.

    python -m experiments.readme

A table stands between `<!-- table:NAME -->` and `<!-- /table -->`: that of the study or the benchmark of that name.
"""

import re
from pathlib import Path

from experiments import bag_of_words, hardware, recall, train_lm
from experiments.benchmarks import registry as benchmarks
from experiments.reproduce import registry as studies
from experiments.reproduce.study import read_results
from experiments.result_files import RESULTS

_ROOT = RESULTS.parents[1]
READMES = (_ROOT / "README.md", _ROOT / "experiments" / "README.md")


def with_tables(text: str, output: Path = RESULTS / "reproduce") -> str:
    """`text` with every table replaced by the one of the result files; those of the studies are in `output`."""
    results = read_results(output)
    of_studies = {study.name: study.table for study in studies.STUDIES}
    others = benchmarks.TABLES | bag_of_words.TABLES | hardware.TABLES | recall.TABLES | train_lm.TABLES

    def replace(match: re.Match) -> str:
        name = match[2]
        table = of_studies[name](results) if name in of_studies else others[name]()
        return f"{match[1]}\n{table.markdown()}\n{match[3]}"

    return re.sub(r"(<!-- table:(\w+) -->).*?(<!-- /table -->)", replace, text, flags=re.DOTALL)


def main() -> None:
    """Rewrites both."""
    for readme in READMES:
        readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    main()
