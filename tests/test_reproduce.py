import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qama_jax
from experiments.data import text
from experiments.models.controls import FixedSelection
from experiments.models.text_transformer import TextTransformer
from experiments.provenance import provenance
from experiments.reproduce import __main__ as command
from experiments.reproduce.arms import ARMS, COMPARED
from experiments.reproduce.budgets import BUDGETS, DATASETS, FACTORS, factor_runs, step_runs, table_runs
from experiments.reproduce.queue import Places, execute
from experiments.reproduce.readouts import CASES, readout_runs, readouts_table
from experiments.reproduce.report import write_report
from experiments.reproduce.results import make_figures, make_tables, read_results
from experiments.reproduce.studies import solver_gap
from experiments.reproduce.tables import Table, table_iii
from experiments.train.loop import TrainingSettings
from experiments.train.roc import roc
from experiments.train.run import Run

TINY = Run(
    "digits",
    "qama",
    TrainingSettings(epochs=2, batch_size=64),
    width=16,
    num_heads=2,
    mlp_dim=32,
    patch_size=2,
    train_examples=256,
    test_examples=100,
)
MEASURED = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def places(folder):
    return Places(folder, folder / "checkpoints", folder / "data")


def measured(result):
    return [{name: row[name] for name in MEASURED} for row in result["epochs"]]


class TestTexts:
    @pytest.mark.parametrize("attention", [nnx.MultiHeadAttention, qama_jax.QAMAAttention])
    def test_padding_has_no_influence(self, attention):
        """Whatever the embedding of the padding id is; a text of padding alone is no exception."""
        model = TextTransformer(
            vocabulary=20,
            num_classes=2,
            width=8,
            depth=2,
            num_heads=2,
            mlp_dim=16,
            attention=attention,
            rngs=nnx.Rngs(0),
        )
        model.head.kernel[...] = jax.random.normal(jax.random.key(1), (8, 2))
        ids = jax.random.randint(jax.random.key(0), (3, 10), 1, 20).at[0, 6:].set(0).at[1].set(0).astype(jnp.uint16)
        before = model(ids)
        model.embed.embedding[...] = model.embed.embedding[...].at[0].set(100.0)
        np.testing.assert_allclose(model(ids), before, rtol=1e-5, atol=1e-6)
        assert np.isfinite(before).all()
        model.embed.embedding[...] = model.embed.embedding[...].at[ids[2, 0]].multiply(-3.0)
        assert np.abs(model(ids)[2] - before[2]).max() > 1e-3

    def test_vocabulary_is_of_the_training_split(self, tmp_path, monkeypatch):
        """Longer texts are cut, shorter ones padded, and what training texts do not have is unknown."""
        texts = {"train": [b"good film", b"bad film<br />bad actors", b"a film"], "validation": [b"film \xe2\x98\x83"]}
        monkeypatch.setattr(text, "read_columns", lambda name, split, columns: (texts[split], [1] * len(texts[split])))
        data = text.load_text("sst2", tmp_path, vocabulary=22, length=6)
        assert data.train_inputs.shape == (3, 6)
        assert data.train_inputs.dtype == np.uint16
        assert (data.train_inputs[1] > 1).all()
        assert (data.train_inputs[2] == 0).any()
        assert 1 in data.test_inputs[0]
        assert data.train_inputs.max() < 22
        monkeypatch.delattr(text, "read_columns")
        again = text.load_text("sst2", tmp_path, vocabulary=22, length=6)
        np.testing.assert_array_equal(again.test_inputs, data.test_inputs)
        with pytest.raises(ValueError, match="dataset must be one of imdb, sst2"):
            text.load_text("mnist", tmp_path, vocabulary=22, length=6)

    @pytest.mark.slow
    def test_prepared_texts(self, tmp_path):
        data_dir = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
        if not any(data_dir.glob("glue/sst2/*/dataset_info.json")):
            pytest.skip("glue/sst2 is not prepared: set TFDS_DATA_DIR to a folder prepared by tensorflow-datasets")
        data = text.load_text("sst2", tmp_path, vocabulary=8000, length=72)
        assert data.train_inputs.shape == (67_349, 72)
        assert data.test_labels.tolist().count(1) == 444
        assert (data.train_inputs[:, -1] == 0).all(), "a sentence was cut"


def test_roc():
    """AUC is the share of pairs that are in order, ties counted half; the thinned curve has its area."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 3000)
    logits = np.stack([np.zeros(3000), np.round(generator.normal(labels * 1.0), 3)], axis=1)
    found = roc(logits, labels)
    positive, negative = logits[labels == 1, 1], logits[labels == 0, 1]
    ordered = np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative))
    np.testing.assert_allclose(found["auc"], ordered, rtol=1e-9)
    assert len(found["false_positive_rate"]) <= 200
    area = np.trapezoid(found["true_positive_rate"], found["false_positive_rate"])
    np.testing.assert_allclose(area, ordered, atol=2e-3)


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_arms_differ_in_attention_alone(budget):
    runs = table_runs(budget, DATASETS, (0, 1)) | readout_runs(budget, (0, 1), tuple(CASES), tuple(ARMS))
    assert len(runs) == 2 * (len(COMPARED) * len(DATASETS) + len(ARMS) * len(CASES))
    for name, run in runs.items():
        _, _, arm, seed = re.fullmatch(r"(readout_)?([a-z0-9_]+|[a-z0-9]+-[0-9]+)_([a-z-]+)_seed(.)", name).groups()
        assert run.training.seed == int(seed)
        softmax = runs[name.replace(f"_{arm}_seed", "_softmax_seed")]
        of_qama = {field: getattr(softmax, field) for field in ("attention", "readout", "selection", "solver")}
        assert dataclasses.replace(run, **of_qama) == softmax
        assert (run.solver is None) == arm.endswith("-few")
    assert {run.attention for run in runs.values()} == {"softmax", "qama", "linear", "none"}
    assert {run.selection for run in runs.values()} == {"annealed", "importance", "random"}
    factors = factor_runs(budget, (0,))
    default = factors["factor_default_seed0"]
    for factor, run in zip(FACTORS.values(), factors.values(), strict=True):
        assert dataclasses.replace(default, **factor.changes) == run
    assert len({run.solver.num_steps for run in step_runs(budget, (0,)).values()}) == 5


def test_interrupted_queue_ends_with_the_same_results(tmp_path, monkeypatch):
    """Interrupted after every epoch and called again; what is done is not trained again."""
    runs = {name: dataclasses.replace(TINY, attention=name) for name in ("softmax", "none")}
    whole = execute(runs, places(tmp_path / "whole"))

    class Interrupt(Exception):
        pass

    def stop():
        raise Interrupt

    parts = places(tmp_path / "parts")
    interruptions = 0
    uninterrupted = Run.execute
    with monkeypatch.context() as patch:
        patch.setattr(Run, "execute", lambda *args, on_epoch, **kwargs: uninterrupted(*args, on_epoch=stop, **kwargs))
        while True:
            try:
                results = execute(runs, parts)
                break
            except Interrupt:
                interruptions += 1
    assert interruptions == 2 * TINY.training.epochs
    for name in runs:
        assert measured(results[name]) == measured(whole[name])
        assert results[name]["complete"]

    monkeypatch.delattr(Run, "execute")
    assert execute(runs, parts) == results
    with pytest.raises(ValueError, match=r"none.json is of a run with other settings \(model, parameters\); remove it"):
        execute({"none": dataclasses.replace(TINY, attention="none", depth=3)}, parts)


def test_more_epochs_continue_a_finished_run(tmp_path):
    short = dataclasses.replace(TINY, attention="none")
    longer = dataclasses.replace(short, training=dataclasses.replace(TINY.training, epochs=4))
    whole = execute({"run": longer}, places(tmp_path / "whole"))["run"]
    execute({"run": short}, places(tmp_path / "parts"))
    continued = execute({"run": longer}, places(tmp_path / "parts"))["run"]
    assert measured(continued) == measured(whole)
    assert continued["settings"]["epochs"] == 4


def test_parts_of_a_batch_are_the_batch(tmp_path):
    """Softmax attention, in which nothing is random but the start and the order."""
    results = {}
    for parts in (1, 4):
        settings = dataclasses.replace(TINY.training, micro_batches=parts)
        run = dataclasses.replace(TINY, attention="softmax", training=settings)
        folder = places(tmp_path / str(parts))
        # The second epoch is of a resumed run, with the state of the accumulated gradient.
        first = dataclasses.replace(run, training=dataclasses.replace(settings, epochs=1))
        execute({"one": first}, folder)
        results[parts] = execute({"one": run}, folder)["one"]
    for whole, parts in zip(measured(results[1]), measured(results[4]), strict=True):
        np.testing.assert_allclose(list(parts.values()), list(whole.values()), rtol=1e-4)
    assert "micro_batches" not in results[1]["settings"]
    assert results[4]["settings"]["micro_batches"] == 4
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"batch_size=64 must be a multiple of micro_batches, got {wrong}"):
            TrainingSettings(batch_size=64, micro_batches=wrong)


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """SIGKILL at moments spread over the whole run, and the result is that of a run left alone."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from test_reproduce import TINY, execute, places\n"
        "execute({'run': TINY}, places(Path(sys.argv[1])))\n"
    )

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", script, str(folder)], stderr=subprocess.DEVNULL)

    begin = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - begin
    kills = 0
    for moment in np.linspace(0.3, 1.0, 8):
        process = start(tmp_path / "parts")
        try:
            process.wait(timeout=seconds * moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    assert start(tmp_path / "parts").wait() == 0
    whole, parts = (json.loads((tmp_path / name / "runs" / "run.json").read_text()) for name in ("whole", "parts"))
    assert measured(parts) == measured(whole)
    assert parts["complete"]


def result_of(dataset, attention, seed, last, best):
    return {
        "dataset": dataset,
        "attention": attention,
        "settings": {"seed": seed, "epochs": 3, "batch_size": 64},
        "last_accuracy": last,
        "best_accuracy": best,
    }


def test_table_iii_against_hand_calculation():
    results = [
        result_of("cifar10", "softmax", 0, 0.60, 0.61),
        result_of("cifar10", "softmax", 1, 0.62, 0.63),
        result_of("cifar10", "qama", 0, 0.58, 0.60),
        result_of("cifar10", "qama", 1, 0.57, 0.62),
    ]
    table = table_iii(results)
    softmax, qama = table.rows
    assert softmax == ("cifar10", "softmax", "61.0 ± 1.4", "61.4 (-0.4)", "62.0 ± 1.4", "62.0 (+0.0)", "", "")
    assert qama[2:4] == ("57.5 ± 0.7", "59.3 (-1.8)")
    assert qama[6:] == ("-3.5 / -1.0", "-2.1 / -2.7")
    assert "-3.5, beyond the 2.7 points" in table.note
    text = [result_of("sst2", "softmax", 0, 0.80, 0.81)]
    assert table_iii(text, {"sst2": 0.825, "imdb": 0.9}).rows[1:] == [
        ("sst2", "bag of words", "82.5", "", "82.5", "", "+2.5 / +1.5", "")
    ]
    values = result_of("cifar10", "qama", 0, 0.63, 0.64) | {"qama": {"readout": "WindowReadout()"}}
    assert table_iii([*results, values]).rows[2] == (
        "cifar10",
        "qama, window",
        "63.0",
        "",
        "64.0",
        "",
        "+2.0 / +2.0",
        "",
    )
    assert table.markdown().splitlines()[1] == "| " + " | ".join(["---"] * 8) + " |"


def test_readouts_table_pairs_the_seeds():
    accuracy = {
        "readout_mnist-2_softmax_seed0": 0.90,
        "readout_mnist-2_softmax_seed1": 0.92,
        "readout_mnist-2_window_seed0": 0.91,
        "readout_mnist-2_window_seed1": 0.91,
        "readout_mnist-2_window-importance_seed1": 0.88,
    }
    shared = {"train_examples": 12_500, "settings": {"epochs": 5}, "model": {"depth": 2}}
    table = readouts_table({name: shared | {"last_accuracy": value} for name, value in accuracy.items()})
    assert table.rows == [
        ("MNIST, 2 blocks", "softmax", "91.0 ± 1.4", "2", "", ""),
        ("MNIST, 2 blocks", ARMS["window"].label, "91.0 ± 0.0", "2", "+0.0 ± 1.4", "+3.0"),
        ("MNIST, 2 blocks", ARMS["window-importance"].label, "88.0", "1", "-4.0", ""),
    ]
    assert "windows of 17 tokens, 8 selected keys" in table.note


def test_output_folder_becomes_one_page(tmp_path):
    """From a real run: tables, figures and a page that needs no other file; unfinished runs are left out."""
    where = places(tmp_path)
    runs = {f"mnist_{name}_seed0": dataclasses.replace(TINY, attention=name) for name in ("softmax", "qama")}
    execute(runs, where)
    for path in (tmp_path / "runs").glob("*.json"):
        # The tables are of the paper's data sets alone, none of which comes with a package.
        curve = {"auc": 0.5, "false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "mnist", "roc": curve}))
    unfinished = json.loads((tmp_path / "runs" / "mnist_qama_seed0.json").read_text()) | {"complete": False}
    (tmp_path / "runs" / "mnist_qama_seed1.json").write_text(json.dumps(unfinished))

    results = read_results(tmp_path)
    assert set(results.runs) == set(runs)
    tables = make_tables(results)
    assert list(tables) == ["I", "III"]
    assert tables["I"].rows[0][:5] == ("mnist", "256 / 100", "2", "64", "16")
    hostile = Table("<b>", ("a",), [("<script>",)])
    figures = make_figures(results, tmp_path / "figures")
    write_report(
        tmp_path / "report.html",
        budget="tiny",
        tables=[*tables.values(), hostile],
        figures=figures,
        runs=results.runs,
        provenance=provenance(),
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<table>") == 4
    assert page.count("data:image/png;base64,") == 1
    assert "<script>" not in page
    assert "mnist_softmax_seed0" in page


def test_gap_of_the_solver(tmp_path):
    """Never negative, and the smaller the better the solver; the trained model comes from its checkpoint."""
    short = dataclasses.replace(TINY, training=TrainingSettings(epochs=1, batch_size=64))
    few = dataclasses.replace(short, solver=qama_jax.SimulatedBifurcation(num_steps=1, max_descent_steps=0))
    many = dataclasses.replace(short, solver=qama_jax.SimulatedBifurcation(num_steps=100, num_reads=32))
    gaps = [solver_gap(name, run, places(tmp_path)) for name, run in {"few": few, "many": many}.items()]
    assert 0 <= gaps[1]["mean"] < 1e-3 < gaps[0]["mean"]


def test_fixed_selection_ignores_the_problem():
    problem = qama_jax.Qubo(np.diag([1.0, 1.0, -5.0, 1.0]))
    solution = qama_jax.solve(jax.random.key(0), problem, FixedSelection())
    assert solution.bits.tolist() == [0, 1, 0, 1]


def test_command_line():
    everything = command.parse_arguments([])
    assert (everything.table, everything.figure) == (["I", "III", "IV", "V", "VII"], [2, 3, 4, 5, 6, 7])
    assert everything.budget == "paper"
    one = command.parse_arguments(["--figure", "2", "--quick", "--datasets", "sst2"])
    assert (one.table, one.figure, one.study, one.budget) == ([], [2], [], "quick")
    asked = command._asked(table_runs(BUDGETS["quick"], DATASETS, (0,)), one)
    assert list(asked) == ["sst2_softmax_seed0", "sst2_qama_seed0"]
    none = command.parse_arguments(["--table", "III", "--datasets", "imdb", "sst2", "--arms", "none"])
    asked = command._asked(table_runs(BUDGETS["quick"], DATASETS, (0,)), none)
    assert list(asked) == ["imdb_none_seed0", "sst2_none_seed0"]
    figures = command.parse_arguments(["--figure", "6", "7"])
    assert command._variants(figures) == ("IV", "V")
    assert not command._asked(table_runs(BUDGETS["quick"], DATASETS, (0,)), figures)
    masks = command.parse_arguments(["--figure", "3", "--seeds", "4", "5"])
    assert list(command._asked(table_runs(BUDGETS["quick"], DATASETS, (4, 5)), masks)) == ["cifar10_qama_seed4"]
