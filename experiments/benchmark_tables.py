"""Tables of the benchmarks from their result files, in Markdown."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.markdown import markdown_table
from experiments.reproduce import paper
from experiments.reproduce.readouts import mean_accuracy
from experiments.reproduce.results import read_results

_RESULTS = Path(__file__).parent / "results"


def _load(name: str) -> dict[str, Any]:
    return json.loads((_RESULTS / f"{name}.json").read_text())


def solver_table() -> str:
    """Gap and time of bifurcation with each number of steps."""
    result = _load("benchmark_solver")
    rows = []
    for row in result["rows"]:
        times = " / ".join(f"{time['median_s'] * 1e6:.0f}" for time in row["seconds_per_problem"].values())
        gap = f"{row['mean_gap']:.2%} ± {row['standard_error']:.2%}"
        at_best = f"{row['share_at_reference']:.0%}"
        rows.append((str(tuple(row["shape"])), row["solver"], str(row["problems"]), gap, at_best, times))
    header = (
        "(H, N, D)",
        "bifurcation",
        "problems",
        "mean gap ± standard error",
        "at the reference",
        f"µs a problem, batch {' / '.join(result['rows'][0]['seconds_per_problem'])} of {result['part']}",
    )
    return markdown_table(header, rows)


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
    return markdown_table(("N", "batch", "softmax, ms", "QAMA, ms", "ratio"), rows)


def readout_cost_table() -> str:
    """Forward and backward time of each read-out as a share of softmax's."""
    measured = _load("benchmark_readouts")["against_softmax"]
    names = [name for name in measured[0]["arms"] if name != "softmax"]
    rows = [
        (
            f"{row['tokens']:,}",
            str(row["head_dim"]),
            f"{row['arms']['softmax']['median_s'] * 1e3:.1f}",
            *(f"{row['arms'][name]['ratio']:.2f}" for name in names),
        )
        for row in measured
    ]
    return markdown_table(("N", "D", "softmax, ms", *names), rows)


def choice_table() -> str:
    """The read-outs: what each is, its time as a share of softmax's, and its accuracy."""
    shares = {
        row["tokens"]: {name: arm["ratio"] for name, arm in row["arms"].items()}
        for row in _load("benchmark_readouts")["against_softmax"]
        if row["head_dim"] == 64
    }
    results = read_results(_RESULTS / "reproduce").readouts
    rows = []
    for label, cost, name, arm in _CHOICE:
        times = (f"{shares[tokens][name]:.2f}" if name else "" for tokens in (256, 4096))
        rows.append((label, cost, *times, *(mean_accuracy(results, case, arm) for case in ("mnist-1", "mnist-2"))))
    header = ("`readout=`", "cost", "time, N = 256", "N = 4,096", "MNIST, 1 block", "2 blocks")
    note = "Forward and backward, softmax = 1, heads of 64, on CPU; accuracy after 5 epochs of 12,500 images."
    return markdown_table(header, rows) + "\n\n" + note


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


def readout_scaling_table() -> str:
    """Time and temporary memory of each read-out over the length."""
    rows = [
        (
            name,
            *(f"{times['median_s'] * 1e3:,.0f} ms" for times in arm["seconds"].values()),
            f"{arm['exponent']:.2f}",
            f"{arm['memory_exponent']:.2f}",
        )
        for name, arm in _load("benchmark_readouts")["scaling"]["arms"].items()
    ]
    lengths = next(iter(_load("benchmark_readouts")["scaling"]["arms"].values()))["seconds"]
    header = ("read-out", *(f"N = {int(tokens):,}" for tokens in lengths), "exponent of time", "of memory")
    return markdown_table(header, rows)


def words_table() -> str:
    """Accuracy of a bag of words."""
    rows = [(name, f"{accuracy:.1%}") for name, accuracy in _load("bag_of_words")["accuracy"].items()]
    return markdown_table(("data set", "TF-IDF and logistic regression"), rows)


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
    return markdown_table(("N", "forward + backward"), rows) + exponent


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
    return markdown_table(("blocks", "attention", "last epoch", "best epoch", "parameters"), rows)


def peers_table() -> str:
    """Time per attention problem to a mean gap of 0.3 %, ours and that of each peer."""
    lines = list(_load("benchmark_peers")["attention"]["rows"].values())
    peers = [name for name, contestant in lines[0]["contestants"].items() if "ratio" in contestant]
    rows = []
    for row in lines:
        ours = row["contestants"][row["ours"]]
        cells = [f"{row['ours']}, {_settings(ours['settings'])}: {_microseconds(ours)}"]
        for contestant in (row["contestants"][name] for name in peers):
            bound = "" if contestant["reached"] else "> "
            ratio = contestant["ratio"]
            cells.append(f"{bound}{_microseconds(contestant)} ({bound}{ratio:,.{0 if ratio >= 10 else 1}f}×)")
        rows.append((str(tuple(row["shape"])), str(row["problems"]), *cells))
    return markdown_table(("(H, N, D)", "problems", "ours, µs", *(f"{name}, µs" for name in peers)), rows)


def cuts_table() -> str:
    """Time to 99.8 % of the best known cut, with the best budget of each contestant."""
    rows = []
    for instance, contestants in _load("benchmark_peers")["cuts"]["rows"].items():
        for name, contestant in contestants.items():
            best = contestant["best"]
            if best is None:
                spent = sum(trial["runs"] * trial["run_s"] for trial in contestant["trials"])
                cells = ("all tried", "0%", f"not in {spent:.0f} s")
            else:
                share = f"{best['success_share']:.0%} of {best['runs']}"
                cells = (_settings(best["settings"]), share, f"{best['time_to_solution_s']:.2f} s")
            rows.append((instance, name, *cells))
    return markdown_table(("instance", "solver", "settings", "successful runs", "time to solution"), rows)


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _microseconds(contestant: dict[str, Any]) -> str:
    return f"{contestant['seconds_per_problem']['median_s'] * 1e6:,.0f}"


def family_table() -> str:
    """Gap and time of every solver at its defaults on attention problems."""
    measured = _load("benchmark_family")["attention"]
    shapes = [str(tuple(row["shape"])) for row in next(iter(measured.values()))]
    rows = []
    for solver, by_shape in measured.items():
        cells = (f"{r['mean_gap']:.2%}, {r['seconds_per_problem']['median_s'] * 1e6:,.0f} µs" for r in by_shape)
        rows.append((f"`{solver.partition('(')[0]}`", *cells))
    return markdown_table(("solver", *shapes), rows)


def optima_table() -> str:
    """Optima found among small instances, and cuts of large ones, at default settings and 16 reads."""
    result = _load("benchmark_family")
    large = ("K2000", "G22", "G1", "G11")
    rows = []
    for solver, scores in result["instances"].items():
        small = [score for name, score in scores.items() if name not in large]
        found = f"{sum(score['reached'] for score in small)} of {len(small)}"
        mean_gap = f"{sum(score['gap'] for score in small) / len(small):.2%}"
        cuts = (f"{-scores[name]['energy']:,.0f}" for name in large)
        rows.append((f"`{solver.partition('(')[0]}`", found, mean_gap, *cuts))
    stated = result["cuts"]
    settings = stated["K2000"]["solver"]
    cuts = (f"{name} {-stated[name]['energy']:,.0f} in {stated[name]['seconds']:.1f} s" for name in ("K2000", "G22"))
    table = markdown_table(("solver", "optima found", "mean gap", *large), rows)
    return f"{table}\n\nWith a budget of their own, `{settings}`: {', '.join(cuts)}."


def sweep_table() -> str:
    """Time of a sweep with low-rank couplings and with matrices."""
    rows = [
        (
            str(tuple(row["shape"])),
            str(row["batch"]),
            f"{row['low_rank_s'] * 1e6:,.0f}",
            f"{row['dense_s'] * 1e6:,.0f}",
            f"{row['dense_over_low_rank']:.1f}",
        )
        for row in _load("benchmark_sweep")["rows"]
    ]
    return markdown_table(("(H, N, D)", "batch", "low-rank, µs a sweep and problem", "matrices, µs", "ratio"), rows)


def constrained_table() -> str:
    """Penalty problems through the dimod sampler: feasible runs, and the objectives of their best reads."""
    result = _load("benchmark_constrained")
    names = ("ours", "dwave-samplers")
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in result["rows"]):
        of_kind = [row for row in result["rows"] if row["kind"] == kind]
        runs = {name: [run for row in of_kind for run in row[name]] for name in names}
        means = {
            name: np.array([np.mean([run["objective"] for run in row[name] if run["feasible"]]) for row in of_kind])
            for name in names
        }
        behind = (means["ours"] - means["dwave-samplers"]) / np.mean(np.abs(means["dwave-samplers"]))
        rows.append(
            (
                kind,
                *(f"{sum(run['feasible'] for run in runs[name])} of {len(runs[name])}" for name in names),
                *(f"{np.sum(means[name]):,.1f}" for name in names),
                f"{np.mean(behind):+.1%} ± {np.std(behind, ddof=1) / np.sqrt(len(behind)):.1%}",
            )
        )
    header = ("problem", *(f"feasible, {name}" for name in names), *(f"sum of means, {name}" for name in names))
    return markdown_table((*header, "ours behind"), rows)


def token_kinds_table() -> str:
    """Gap and processor time of bifurcation and annealing by the kind of tokens."""
    measured = _load("benchmark_token_kinds")["rows"]
    solvers = list(measured[0]["solvers"])
    rows = [
        (
            str(tuple(row["shape"])),
            row["kind"],
            *(
                f"{row['solvers'][name]['mean_gap']:.2%}, {row['solvers'][name]['cpu_s'] * 1e6:,.0f} µs"
                for name in solvers
            ),
        )
        for row in measured
    ]
    return markdown_table(("(H, N, D)", "tokens", *solvers), rows)


def drop_in_table() -> str:
    """Forward and backward time of SimpleViT-S with each attention layer."""
    rows = [
        (name, f"{arm['median_s'] * 1e3:.0f}", f"{arm['ratio']:.2f}")
        for name, arm in _load("benchmark_drop_in")["models"].items()
    ]
    return markdown_table(("attention", "forward + backward, ms", "ratio"), rows)


def precision_table() -> str:
    """What 8-bit couplings cost, with one auxiliary spin and with as many as are enough."""
    rows = []
    for row in _load("benchmark_precision")["rows"]:
        for arm in (row["one_auxiliary_spin"], row["splitting"]):
            fewest, _, most = arm["auxiliary_spins"]
            rows.append(
                (
                    str(tuple(row["shape"])),
                    f"{fewest:.0f}" if fewest == most else f"{fewest:.0f} to {most:.0f}",
                    f"{arm['zeroed_share']:.0%}",
                    f"{arm['mean_loss']:.3%}",
                    f"{arm['machine_mean_gap']:.2%}",
                )
            )
    header = ("(H, N, D)", "auxiliary spins", "couplings at 0", "energy lost to rounding", "gap of `SimulatedMachine`")
    return markdown_table(header, rows)


def hardware_table() -> str:
    """Table VI: the same weights with other solvers, and the paper's figures."""
    result = _load("hardware_mnist")
    rows = []
    for arm, row in (*result["arms"].items(), *result["sampler_arms"].items()):
        times = result["times"][arm]
        cells = (f"{row['images']:,}", f"{row['accuracy']:.2%}", f"{row['mean_label_output']:.4f}")
        parts = (f"{times[f'{part}_s'] * 1e6:,.0f}" for part in ("solve", "transfer", "conversion"))
        rows.append((arm, *cells, *parts))
    names = {"cim": "CPQC-550", "simulation": "simulation"}
    for arm, published in result["paper"].items():
        seconds = published["seconds"]
        cells = (f"{published['accuracy']:.1%}", f"{published['mean_label_output']:.4f}", f"{seconds * 1e6:,.0f}")
        rows.append((f"paper, {names[arm]}", "", *cells, "", ""))
    header = ("solver", "images", "accuracy", "output of the label", "solve, µs", "transfer, µs", "conversion, µs")
    best = paper.ACCURACY["mnist"]["qama"].best
    note = (
        f"The paper's Table VI has {paper.HARDWARE['cim']['accuracy']:.1%} for the operator whose best epoch on MNIST "
        f"is {best:.1f}% in its Table III; it does not say what differs."
    )
    return f"{markdown_table(header, rows)}\n\n{note}"
