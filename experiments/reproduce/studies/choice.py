"""Which read-out to choose: what each is, its time as a share of softmax's, and its accuracy."""

from experiments.reproduce.studies import readouts
from experiments.reproduce.study import Results, Study, Table
from experiments.result_files import load

# What it is called, its cost, its name in the benchmark, and its arm.
_CHOICE = (
    ("`EnergyReadout()`, the paper's, the default", "N·D", "energy", "qama"),
    ("`WindowReadout()`: neighbours and selected keys", "N·(radius + keys)·D", "window", "window"),
    ("`SelectedKeysReadout()`; cross-attention", "N·keys·D", "selected keys", "keys"),
    ("`LinearReadout()`; cross-attention, longest", "N·D²", "linear", "gated-linear"),
    ("softmax", "N²·D", "softmax", "softmax"),
    ("linear attention", "N·D²", "linear attention", "linear"),
    ("none", "", "", "none"),
)


def table(results: Results) -> Table | None:
    """For the first page."""
    if not results["readouts"]:
        return None
    shares = {
        row["tokens"]: {name: arm["ratio"] for name, arm in row["arms"].items()}
        for row in load("benchmark_readout_cost")["against_softmax"]
        if row["head_dim"] == 64
    }
    rows = []
    for label, cost, name, arm in _CHOICE:
        times = (f"{shares[tokens][name]:.2f}" if name else "" for tokens in (256, 4096))
        accuracies = (readouts.mean_accuracy(results, case, arm) for case in ("mnist-1", "mnist-2"))
        rows.append(f"{label} | {cost} | {' | '.join(times)} | {' | '.join(accuracies)}")
    header = "`readout=` | cost | time, N = 256 | N = 4,096 | MNIST, 1 block | 2 blocks"
    note = "Forward and backward, softmax = 1, heads of 64, on CPU; accuracy after 5 epochs of 12,500 images."
    return Table.of(header, rows, "Read-outs: which to choose", note)


STUDY = Study("choice", table=table)
