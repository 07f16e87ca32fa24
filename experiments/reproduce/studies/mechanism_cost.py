"""Table VII's time and memory, which a benchmark measures."""

from experiments.benchmarks import mechanism_cost
from experiments.reproduce.studies import mechanisms
from experiments.reproduce.study import Results, Study, Table


def table(results: Results) -> Table | None:
    """Beside the accuracies, where there are any."""
    return mechanism_cost.table() if mechanisms.of_table(results) else None


STUDY = Study("mechanism_cost", table=table, paper_table="VII")
