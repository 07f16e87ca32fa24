"""Tables IV, V and VII and the paper's comparisons: which runs they are, and their cells by hand."""

import collections
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from experiments.attention_arms import BASELINES, WINDOWS
from experiments.benchmarks import mechanism_cost
from experiments.data.dataset import Dataset
from experiments.models import baselines
from experiments.reproduce.budgets import BUDGETS, IMAGES
from experiments.reproduce.curves import ARMS
from experiments.reproduce.queue import Places, estimate, results_of
from experiments.reproduce.spread import paired_difference
from experiments.reproduce.studies import claims, heads, lengths, mechanisms
from experiments.reproduce.studies.claims import FAILS, HOLDS, OPEN, Difference
from experiments.reproduce.studies.heads import HEADS
from experiments.reproduce.studies.lengths import POOLS, pooled_window
from experiments.reproduce.studies.readouts import CASES
from experiments.result_files import write_json
from experiments.timing import exponent
from experiments.train.loop import TrainingSettings
from experiments.train.run import Run
from experiments.train.speed import measure_step


def blank(dataset):
    """Two images of the size of the data set's."""
    shape = (2, 32, 32, 3) if dataset == "cifar10" else (2, 28, 28, 1)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return Dataset(images, np.array([0, 9]), images, np.array([0, 9]))


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_arms_of_a_row_differ_in_attention_alone(budget):
    runs = {run for study in (mechanisms, heads, lengths) for run in study.runs(budget, 1)}
    named = {(run.study, run.case, run.arm): run for run in runs}
    of_heads, of_lengths = 3 * (3 * len(HEADS) + 1), 3 * len(POOLS) * len(ARMS)
    assert len(named) == len(runs) == of_heads + of_lengths + 1 + len(BASELINES)
    for (study, case, _), run in named.items():
        other = named["heads" if study == "mechanisms" else study, case, "softmax"]
        of_arm = {name: getattr(other, name) for name in ("attention", "readout", "arm", "study")}
        assert dataclasses.replace(run, **of_arm) == other
        assert run.training.seed == 1
    assert {run.attention for run in runs} == {"softmax", "qama", "none", "linear", *BASELINES}
    assert tuple(BASELINES) == baselines.NAMES
    shared = [run.arm for run in mechanisms.runs(budget, 1) if run.study == "heads"]
    assert sorted(shared) == sorted(ARMS)


def test_lengths_are_those_that_the_paper_prints():
    printed = {"cifar10": [256, 64, 16, 4, 1], "mnist": [196, 49, 14, 4, 1], "fashion_mnist": [196, 49, 14, 4, 1]}
    runs = {(run.dataset, run.pool, run.arm): run for run in lengths.runs(BUDGETS["paper"], 0)}
    for dataset, tokens in printed.items():
        data = blank(dataset)
        for pool, length in zip(POOLS, tokens, strict=True):
            run = runs[dataset, pool, "softmax"]
            assert run.num_tokens(data) == length
            assert (run.num_heads, run.patch_size, run.case) == (2, 2, f"{dataset}-{pool[0]}x{pool[1]}")
    assert runs["cifar10", (2, 7), "none"].model_maker(blank("cifar10"))(nnx.Rngs(0)).num_tokens == 16


def test_windows_of_pooled_images_are_those_of_patches():
    """As many tokens in as many columns have the window that they have elsewhere."""
    for dataset in IMAGES:
        assert pooled_window(dataset, (2, 2)) == WINDOWS[dataset]
    assert pooled_window("cifar10", (1, 1)) == CASES["cifar10-256"].window
    assert pooled_window("mnist", (2, 7)).radius == 3


def test_header_says_what_a_run_is():
    """With the same fields for every run."""
    data = blank("mnist")
    names = {"study": "lengths", "case": "mnist-1x7", "arm": "linformer"}
    header = Run("mnist", "linformer", TrainingSettings(seed=3), pool=(1, 7), **names).header(data)
    assert {name: header[name] for name in names} == names
    assert (header["seed"], header["baseline"]) == (3, "Linformer(length=7, rank=16)")
    assert header["settings"] == {"batch_size": 128, "learning_rate": 1e-3, "micro_batches": 1}
    assert header["model"]["pool"] == (1, 7)
    assert "seed=3" in Run("mnist", "reformer", TrainingSettings(seed=3)).header(data)["baseline"]
    qama = Run("mnist", "qama", TrainingSettings()).header(data)
    assert qama.keys() == header.keys()
    assert (qama["qama"]["readout"], qama["qama"]["selection"]) == ("EnergyReadout()", "annealed")
    assert (qama["baseline"], header["qama"]) == (None, None)


def result_of(dataset, arm, best, seed=0, heads=8, pool=(1, 1), **more):
    return {
        "case": f"{dataset}-{heads}",
        "arm": arm,
        "seed": seed,
        "dataset": dataset,
        "train_examples": 100,
        "test_examples": 10_000,
        "tokens": 49,
        "parameters": 1234,
        "model": {"num_heads": heads, "pool": list(pool)},
        "baseline": None,
        "epochs": 5 * [{}],
        "last_accuracy": best - 0.01,
        "best_accuracy": best,
        **more,
    }


def results(**studies):
    return collections.defaultdict(list, studies)


def test_differences_are_paired():
    """Against Student's t by hand: differences 1, 2, 3 have t = 2 √3, p = 0.074 for two degrees of freedom."""
    assert paired_difference({0: 51.0, 1: 42.0, 2: 33.0}, {0: 50.0, 1: 40.0, 2: 30.0}) == "+2.0 ± 1.0, p = 0.074"
    assert paired_difference({0: 51.0, 1: 42.0}, {1: 40.0}) == "+2.0"
    assert paired_difference({0: 51.0}, {1: 40.0}) == ""


def test_table_iv_against_hand_calculation():
    lines = [
        result_of("mnist", "softmax", 0.95, heads=2),
        result_of("mnist", "softmax", 0.96, seed=1, heads=2),
        result_of("mnist", "qama", 0.93, heads=2),
        result_of("mnist", "none", 0.90),
        result_of("mnist", "window", 0.94, heads=2),
    ]
    table = heads.table(results(heads=lines))
    row = table.rows[1]
    assert row[:7] == ("mnist", "2", "98", "90.0", "95.5 ± 0.7", "97.2 (-1.7)", "93.0")
    assert row[7:] == ("95.2 (-2.2)", "-2.0", "+2.62 %", "+2.06 %", "94.0", "-1.0")
    assert table.rows[0][3:5] == ("90.0", "")
    # The paper's own figures: the mean Δ of its printed columns.
    assert "printed figures have 1.53 % and 3.32 %" in table.note
    assert "mnist 100 training images, 5 epochs" in table.note
    curves = heads.SWEEP.panels(heads.with_none(results(heads=lines)))["mnist"]
    assert list(curves["softmax"].places) == [2]
    assert list(curves["none"].places) == [1, 2, 4, 8]
    np.testing.assert_allclose(curves["softmax"].values, [[95.0, 96.0]])
    np.testing.assert_allclose(curves["qama, paper"].values, [[96.1], [95.2], [96.9], [95.9]])


def test_table_v_against_hand_calculation():
    lines = [
        result_of("cifar10", "softmax", 0.50, pool=(2, 7)) | {"tokens": 16},
        result_of("cifar10", "qama", 0.49, pool=(2, 7)) | {"tokens": 16},
        result_of("cifar10", "softmax", 0.55) | {"tokens": 256},
    ]
    table = lengths.table(results(lengths=lines))
    assert [row[:4] for row in table.rows] == [("cifar10", "1×1", "256", "512"), ("cifar10", "2×7", "16", "32")]
    assert table.rows[1][4:10] == ("", "50.0", "54.9 (-4.9)", "49.0", "51.9 (-2.9)", "-1.0")
    assert "12.7 points with 256 tokens" in table.note


def test_table_vii_against_hand_calculation():
    shared = [
        result_of("cifar10", "softmax", 0.50),
        result_of("cifar10", "qama", 0.48),
        result_of("cifar10", "softmax", 0.2, heads=4),
        result_of("mnist", "softmax", 0.9),
    ]
    best = {"linformer": 0.475, "bigbird": 0.485}
    own = [result_of("cifar10", arm, share, baseline=f"{arm}()") for arm, share in best.items()]
    table = mechanisms.table(results(heads=shared, mechanisms=own))
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["softmax", "QAMA as published, energies", "bigbird()", "linformer()"]
    assert rows["softmax"] == ("1,234", "49.0", "61.4 (-12.4)", "50.0", "62.0 (-12.0)", "", "", "")
    assert rows["bigbird()"][-3:] == ("-1.5", "-1.0", "yes")
    # 2.6 points is what the paper's Linformer loses.
    assert rows["linformer()"][-3:] == ("-2.5", "-2.6", "yes")
    own[0]["best_accuracy"] = 0.47
    assert mechanisms.table(results(heads=shared, mechanisms=own)).rows[-1][-1] == "no"


def costs(time, memory):
    def arm(name):
        seconds = {str(n): {"median_s": 1e-3 * (n / 1024) ** time.get(name, 1.0)} for n in (1024, 16384)}
        if name == "softmax":
            del seconds["16384"]
        sizes = {str(n): 1e6 * (n / 1024) ** memory.get(name, 1.0) for n in (1024, 16384)}
        slopes = {"exponent": time.get(name, 1.0), "memory_exponent": memory.get(name, 1.0)}
        return {"seconds": seconds, "temporary_bytes": sizes, **slopes}

    names = ("softmax", "qama", "window", *BASELINES, "linear")
    size = {"tokens": 64, "batch": 2, "heads": 8, "head_dim": 8}
    return {
        "repeats": 3,
        "table_size": size | {"arms": {name: {"median_s": 2e-3, "temporary_bytes": 3e6} for name in names}},
        "scaling": {"head_dim": 64, "lengths": [1024, 16384], "arms": {name: arm(name) for name in names}},
    }


def test_cost_table(monkeypatch):
    monkeypatch.setattr(mechanism_cost, "load", lambda name: costs({"qama": 1.1}, {"softmax": 2.0}))
    table = mechanism_cost.table()
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["softmax"] == ("2.0 ms, 3.0 MB", "1 ms, 1 MB", "not run, 256 MB", "1.00", "O(n²)", "2.00", "O(n²)")
    assert rows["QAMA as published, energies"][3:] == ("1.10", "T_sol", "1.00", "O(n)")
    assert exponent({"1024": 3.0, "16384": 3.0 * 16**1.5, "4096": 1.0}) == pytest.approx(1.5)


def test_verdicts_need_two_standard_errors():
    assert Difference("", 0.5, 0.2).at_least(0.0) == HOLDS
    assert Difference("", 0.3, 0.2).at_least(0.0) == OPEN
    assert Difference("", -0.3, 0.2).at_least(0.0) == OPEN
    assert Difference("", -0.5, 0.2).at_least(0.0) == FAILS


def verdicts(runs=(), heads=(), lengths=(), mechanisms=()):
    # A run of which no claim speaks, so that there is a table.
    mechanisms = [*mechanisms, result_of("cifar10", "linear", 0.5)]
    groups = {"accuracy": list(runs), "heads": list(heads), "lengths": list(lengths), "mechanisms": mechanisms}
    table = claims.table(results(**groups))
    return {sentence: (verdict, figures) for _, sentence, verdict, figures in table.rows}


def cost_verdicts(measured):
    return {sentence: (verdict, figures) for _, sentence, verdict, figures in claims.cost_claims(measured)}


def only(found, word):
    (verdict,) = (value for sentence, value in found.items() if word in sentence)
    return verdict


def test_claims_without_results_are_open():
    of_costs = {claim.sentence for claim in claims.cost_claims(costs({}, {}))}
    assert {verdict for sentence, (verdict, _) in verdicts().items() if sentence not in of_costs} == {OPEN}
    assert claims.table(results()) is None


def test_claims_follow_the_figures():
    """Accuracies that fulfil the sentences, then ones that do not."""
    accuracy = {"mnist": 0.95, "fashion_mnist": 0.85, "cifar10": 0.60, "imdb": 0.90, "sst2": 0.80}
    runs = [result_of(name, "softmax", best) for name, best in accuracy.items()]
    qama = {name: best + (0.03 if name == "imdb" else -0.02 * (name in IMAGES)) for name, best in accuracy.items()}
    runs += [result_of(name, "qama", best) for name, best in qama.items()]
    found = verdicts(runs)
    assert only(found, "exceeds the baseline on IMDB")[0] == HOLDS
    assert only(found, "surpass it in certain")[0] == HOLDS
    assert only(found, "better on texts")[0] == HOLDS
    assert only(found, "advantage on images")[0] == HOLDS
    assert only(found, "Table III")[0] == OPEN, "2 points are within 2.7, but not by two standard errors"
    assert only(found, "AUC") == (OPEN, "")
    curves = [result_of(name, arm, 0.8, roc={"auc": 0.9}) for name in ("imdb", "sst2") for arm in ("softmax", "qama")]
    assert only(verdicts(curves), "AUC") == (HOLDS, "imdb +0.0 ± 0.4, sst2 +0.0 ± 0.4")
    curves[-1]["roc"] = {"auc": 0.8}
    assert only(verdicts(curves), "AUC")[0] == FAILS
    worse = [result_of("cifar10", "softmax", 0.65) if r["dataset"] == "cifar10" else r for r in runs[:5]] + runs[5:]
    assert only(verdicts(worse), "Table III")[0] == FAILS

    growing = [
        result_of(data, arm, 0.5 + 0.03 * index + 0.001 * (arm == "softmax"), heads=heads)
        for data in IMAGES
        for index, heads in enumerate(HEADS)
        for arm in ("softmax", "qama")
    ]
    assert only(verdicts(heads=growing), "number of heads")[0] == HOLDS
    assert only(verdicts(heads=growing), "8 heads")[0] == HOLDS
    growing[-1] = result_of(IMAGES[-1], "qama", 0.5, heads=8)
    assert only(verdicts(heads=growing), "number of heads")[0] == FAILS
    assert only(verdicts(heads=growing), "8 heads")[0] == FAILS

    falling = [
        result_of(data, arm, 0.7 - 0.1 * index, pool=pool)
        for data, (index, pool), arm in itertools.product(IMAGES, enumerate(POOLS), ("softmax", "qama"))
    ]
    assert only(verdicts(lengths=falling), "falls rapidly")[0] == HOLDS
    assert only(verdicts(lengths=falling), "as that of the baseline")[0] == HOLDS
    verdict, figures = only(verdicts(heads=growing, lengths=falling), "mean differences")
    softmax = 0.501 + 0.03 * np.arange(4)
    share = 100 * np.mean([*np.tile(0.001 / softmax, 3)[:-1], 0.091 / 0.591])
    assert (verdict, figures) == (HOLDS, f"shares of {share:.2f} % (IV) and 0.00 % (V)")
    growing[-3] = result_of(IMAGES[-1], "qama", 0.5, heads=4)
    assert only(verdicts(heads=growing, lengths=falling), "mean differences")[0] == FAILS

    table = [result_of("cifar10", arm, 0.55) for arm in ("softmax", "qama")]
    others = [result_of("cifar10", arm, best) for arm, best in (("longformer", 0.6), ("reformer", 0.5))]
    assert only(verdicts(heads=table, mechanisms=others), "Longformer and Reformer")[0] == FAILS
    assert only(verdicts(heads=table, mechanisms=others), "competitive with")[0] == OPEN

    linear = cost_verdicts(costs({"qama": 1.1}, {"softmax": 2.0}))
    words = ("space is O(n)", "O(n²)", "other mechanisms", "does not depend")
    assert [only(linear, word)[0] for word in words] == [HOLDS, HOLDS, FAILS, OPEN]
    assert only(cost_verdicts(costs({}, {"softmax": 2.0, "reformer": 1.5})), "space is O(n)")[0] == FAILS


def test_estimate_counts_what_is_missing(tmp_path, monkeypatch):
    """Three epochs of 1,437 training and 360 test images, which count a third, of 16 tokens."""
    monkeypatch.setattr("experiments.reproduce.queue.measure_step", lambda run, data: 500.0)
    training = TrainingSettings(epochs=3, batch_size=64)
    run = Run("digits", "none", training, width=16, num_heads=2, patch_size=2, study="a")
    runs = [dataclasses.replace(run, arm=arm) for arm in ("first", "second")]
    where = Places(tmp_path, tmp_path / "work", tmp_path / "data")
    hours = 3 * 16 * (1437 + 120) / (16 * 64 / 500) / 3600
    assert f"2 runs to do, 0.00 G tokens; about {2 * hours:.1f} hours" in estimate(runs, where)
    write_json(where.work / runs[1].name / "result.json", {"epochs": [{}]})
    assert f"2 runs to do, 0.00 G tokens; about {(1 + 2 / 3) * hours:.1f} hours" in estimate(runs, where)
    results_of(tmp_path, "a").add(runs[0].header(run.load(tmp_path)) | {"epochs": 3 * [{}]})
    assert f"1 runs to do, 0.00 G tokens; about {2 / 3 * hours:.1f} hours" in estimate(runs, where)
    assert estimate(runs[:1], where) == "all runs are done"


def test_a_measured_step_is_one_of_the_optimiser(monkeypatch):
    """Of all the parts of a batch."""
    calls = {}

    def record(graph, optimizer, mesh, state, data, order, key, first, last):
        calls.setdefault(order.shape[1], []).append(order[first:last].size)
        return state, order

    monkeypatch.setattr("experiments.train.speed.train_steps", record)
    run = Run("digits", "none", TrainingSettings(batch_size=64), width=16, num_heads=2, patch_size=2)
    parts = dataclasses.replace(run, training=TrainingSettings(batch_size=64, micro_batches=4))
    data = run.load(Path())
    for measured in (run, parts):
        measure_step(measured, data)
    assert sorted(calls) == [16, 64]
    assert set(calls[16]) == set(calls[64]) == {4 * 64}
