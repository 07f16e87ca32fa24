"""Table I: settings of the runs of Table III."""

from experiments import paper
from experiments.reproduce.studies import accuracy
from experiments.reproduce.study import DATASETS, Results, Study, Table


def table(results: Results) -> Table | None:
    """A row for each data set."""
    one_of = {result["dataset"]: result for result in results["accuracy"]}
    rows = []
    for result in (one_of[dataset] for dataset in DATASETS if dataset in one_of):
        model, tokens = result["model"], result["tokens"]
        examples = f"{result['train_examples']:,} / {result['test_examples']:,}"
        training = f"{len(result['epochs'])} | {result['settings']['batch_size']}"
        size = f"{model['num_heads']} | {model['num_heads'] * tokens} | {model['width']} | {model['depth']}"
        rows.append(f"{result['dataset']} | {examples} | {training} | {tokens} | {size} | {model['mlp_dim']}")
    given = ", ".join(f"{name} {value}" for name, value in paper.SETTINGS.items())
    note = (
        f"Adam, learning rate 1e-3, constant, as in the paper. The paper's settings: {given}. It gives no width, depth "
        "or MLP."
    )
    header = "data set | training / test | epochs | batch | tokens | heads | qubits | width | blocks | MLP"
    return Table.of(header, rows, "Table I: settings, equal for both arms", note) if rows else None


STUDY = Study("settings", accuracy.runs, table, paper_table="I")
