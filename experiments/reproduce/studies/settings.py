"""Table I: settings of the runs of Table III."""

from experiments import paper
from experiments.reproduce.budgets import DATASETS
from experiments.reproduce.studies import accuracy
from experiments.reproduce.study import Results, Study
from experiments.tables import Table


def table(results: Results) -> Table | None:
    """A row for each data set."""
    one_of = {result["dataset"]: result for result in results["accuracy"]}
    rows = []
    for result in (one_of[dataset] for dataset in DATASETS if dataset in one_of):
        model = result["model"]
        rows.append(
            {
                "data set": result["dataset"],
                "training / test": f"{result['train_examples']:,} / {result['test_examples']:,}",
                "epochs": str(len(result["epochs"])),
                "batch": str(result["settings"]["batch_size"]),
                "tokens": str(result["tokens"]),
                "heads": str(model["num_heads"]),
                "qubits": str(model["num_heads"] * result["tokens"]),
                "width": str(model["width"]),
                "blocks": str(model["depth"]),
                "MLP": str(model["mlp_dim"]),
            }
        )
    given = ", ".join(f"{name} {value}" for name, value in paper.SETTINGS.items())
    note = (
        f"Adam, learning rate 1e-3, constant, as in the paper. The paper's settings: {given}. It gives no width, depth "
        "or MLP."
    )
    return Table.of(rows, "Table I: settings, equal for both arms", note) if rows else None


STUDY = Study("settings", accuracy.runs, table, paper_table="I")
