"""Which read-out to choose: what each is, its time as a share of softmax's, and its accuracy."""

from experiments.reproduce.studies import readouts
from experiments.reproduce.study import Results, Study, Table
from experiments.result_files import load

# What it is called, its cost, its name in the benchmark, and its arm.
_CHOICE = (
    ("`EnergyReadout()`, the paper's, the default", "N·D", "energy", "qama"),
    ("`MixedReadout()`: a window, and selected keys by a learned weight", "N·(radius + keys)·D", "mixed", "mixed"),
    ("`WindowReadout()`: neighbours and selected keys in one softmax", "N·(radius + keys)·D", "window", "window"),
    ("`WindowReadout(num_keys=0)`: the window alone, nothing annealed", "N·radius·D", "window alone", "window-alone"),
    ("`SelectedKeysReadout()`", "N·keys·D", "selected keys", "keys"),
    ("`LinearReadout()`, for the longest", "N·D²", "linear", "gated-linear"),
    ("softmax", "N²·D", "softmax", "softmax"),
    ("linear attention", "N·D²", "linear attention", "linear"),
    ("no attention", "", "", "none"),
)
_CASES = {"mnist-1": "MNIST, 1 block", "mnist-2": "2 blocks", "digit-groups": "groups of digits"}


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
        times = (f"{shares[tokens][name]:.2f}" if name in shares[tokens] else "" for tokens in (256, 4096))
        accuracies = (_beside_control(results, case, arm) for case in _CASES)
        rows.append(f"{label} | {cost} | {' | '.join(times)} | {' | '.join(accuracies)}")
    header = f"`readout=` | cost | time, N = 256 | N = 4,096 | {' | '.join(_CASES.values())}"
    note = (
        "Time: forward and backward, softmax = 1, heads of 64, on CPU. Accuracy: mean ± standard deviation over the "
        "seeds, after 5 epochs of 12,500 images of MNIST, or 14 of 5,000 sequences of 36 tokens; in brackets the same "
        "read-out with a selection by importance alone."
    )
    return Table.of(header, rows, "Read-outs: which to choose", note)


def _beside_control(results: Results, case: str, arm: str) -> str:
    accuracy = readouts.mean_accuracy(results, case, arm)
    control = readouts.mean_accuracy(results, case, f"{arm}-importance")
    return f"{accuracy} ({control})" if control else accuracy


STUDY = Study("choice", table=table)
