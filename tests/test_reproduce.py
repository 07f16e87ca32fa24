import collections
import dataclasses
import json
import os
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
from experiments import readme
from experiments.attention_arms import ARMS
from experiments.data import text
from experiments.models.controls import SELECTIONS, FixedSelection
from experiments.models.text_transformer import TextTransformer
from experiments.provenance import provenance
from experiments.reproduce import __main__ as command
from experiments.reproduce import registry
from experiments.reproduce.budgets import BUDGETS, DATASETS
from experiments.reproduce.queue import Places, execute, results_of, trained
from experiments.reproduce.report import write_report
from experiments.reproduce.studies import accuracy, factors, readouts, steps
from experiments.reproduce.study import read_results
from experiments.tables import Table
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
    study="tiny",
    case="digits",
)
MEASURED = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def places(folder):
    return Places(folder, folder / "work", folder / "data")


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
    runs = [run for study in (accuracy, readouts) for seed in (0, 1) for run in study.runs(budget, seed)]
    named = {(run.study, run.case, run.arm, run.training.seed): run for run in runs}
    of_readouts = len(readouts.ARMS) * len(readouts.CASES)
    assert len(named) == len(runs) == 2 * (len(accuracy.ARMS) * len(DATASETS) + of_readouts)
    for (study, case, arm, seed), run in named.items():
        assert run.dataset == (case if study == "accuracy" else readouts.CASES[case].dataset)
        softmax = named[study, case, "softmax", seed]
        of_qama = {name: getattr(softmax, name) for name in ("attention", "readout", "selection", "solver", "arm")}
        assert dataclasses.replace(run, **of_qama) == softmax
        assert (run.solver is None) == (arm.endswith("-few") or case == "digit-groups")
    assert {run.attention for run in runs} == {"softmax", "qama", "linear", "none"}
    assert {run.selection for run in runs} == set(SELECTIONS)
    changed = {run.arm: run for run in factors.runs(budget, 0)}
    for arm, factor in factors.FACTORS.items():
        assert dataclasses.replace(changed["default"], arm=arm, **factor.changes) == changed[arm]
    assert [run.solver.num_steps for run in steps.runs(budget, 0)] == [5, 10, 20, 50, 100]


def test_every_study_names_its_runs():
    """By study, case, arm and seed; no two runs of all studies have the same name."""
    runs = [run for study in registry.STUDIES for seed in (0, 1) for run in study.runs(BUDGETS["reduced"], seed)]
    assert len({run.name for run in runs}) == len(set(runs))
    assert {run.study for run in runs} <= {study.name for study in registry.STUDIES}
    assert len({study.name for study in registry.STUDIES}) == len(registry.STUDIES)
    for study in registry.STUDIES:
        own = [run for run in study.runs(BUDGETS["reduced"], 0) if run.study == study.name]
        assert all(run.case and run.arm for run in own)


def test_interrupted_queue_ends_with_the_same_results(tmp_path, monkeypatch):
    """Interrupted after every epoch and called again; what is done is not trained again."""
    runs = [dataclasses.replace(TINY, attention=name, arm=name) for name in ("softmax", "none")]
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
    for mine, theirs in zip(results, whole, strict=True):
        assert measured(mine) == measured(theirs)
        assert mine["complete"]
    lines = results_of(tmp_path / "parts", "tiny").read()
    assert [(line["case"], line["arm"], line["seed"]) for line in lines] == [
        ("digits", "none", 0),
        ("digits", "softmax", 0),
    ]
    assert lines == json.loads(json.dumps(results[::-1]))

    monkeypatch.delattr(Run, "execute")
    assert execute(runs, parts) == lines[::-1]
    with pytest.raises(
        ValueError, match=r"digits, none, 0 in .*tiny.jsonl .* other settings \(model, parameters\); remove"
    ):
        execute([dataclasses.replace(TINY, attention="none", arm="none", depth=3)], parts)
    shorter = dataclasses.replace(runs[0], training=dataclasses.replace(TINY.training, epochs=1))
    with pytest.raises(ValueError, match=r"tiny/digits_softmax_seed0 in .* has 2 epochs, not 1"):
        execute([shorter], parts)


def test_more_epochs_continue_a_finished_run(tmp_path):
    short = dataclasses.replace(TINY, attention="none")
    longer = dataclasses.replace(short, training=dataclasses.replace(TINY.training, epochs=4))
    (whole,) = execute([longer], places(tmp_path / "whole"))
    execute([short], places(tmp_path / "parts"))
    (continued,) = execute([longer], places(tmp_path / "parts"))
    assert measured(continued) == measured(whole)
    assert results_of(tmp_path / "parts", "tiny").read() == [json.loads(json.dumps(continued))]
    with pytest.raises(ValueError, match="holds a run of 4 epochs, more than epochs=2"):
        trained(short, short.load(tmp_path), places(tmp_path / "parts"))


def test_parts_of_a_batch_are_the_batch(tmp_path):
    """Softmax attention, in which nothing is random but the start and the order."""
    results = {}
    for parts in (1, 4):
        batch = dataclasses.replace(TINY.training, micro_batches=parts)
        run = dataclasses.replace(TINY, attention="softmax", training=batch)
        folder = places(tmp_path / str(parts))
        # The second epoch is of a resumed run, with the state of the accumulated gradient.
        execute([dataclasses.replace(run, training=dataclasses.replace(batch, epochs=1))], folder)
        (results[parts],) = execute([run], folder)
        assert results[parts]["settings"]["micro_batches"] == parts
    for whole, parts in zip(measured(results[1]), measured(results[4]), strict=True):
        np.testing.assert_allclose(list(parts.values()), list(whole.values()), rtol=1e-4)
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"batch_size=64 must be a multiple of micro_batches, got {wrong}"):
            TrainingSettings(batch_size=64, micro_batches=wrong)


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """SIGKILL at moments spread over the whole run, and the result is that of a run left alone."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from test_reproduce import TINY, execute, places\n"
        "execute([TINY], places(Path(sys.argv[1])))\n"
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
    ((whole,), (parts,)) = (results_of(tmp_path / name, "tiny").read() for name in ("whole", "parts"))
    assert measured(parts) == measured(whole)
    assert parts["complete"]


def result_of(case, arm, seed, last, best, **more):
    return {
        "case": case,
        "arm": arm,
        "seed": seed,
        "dataset": case,
        "epochs": 5 * [{}],
        "last_accuracy": last,
        "best_accuracy": best,
        **more,
    }


def results(**studies):
    return collections.defaultdict(list, studies)


def test_table_iii_against_hand_calculation(monkeypatch):
    lines = [
        result_of("cifar10", "softmax", 0, 0.60, 0.61),
        result_of("cifar10", "softmax", 1, 0.62, 0.63),
        result_of("cifar10", "qama", 0, 0.58, 0.60),
        result_of("cifar10", "qama", 1, 0.57, 0.62),
    ]
    table = accuracy.table(results(accuracy=lines))
    softmax, qama = table.rows
    assert softmax == ("cifar10", "softmax", "61.0 ± 1.4", "61.4 (-0.4)", "62.0 ± 1.4", "62.0 (+0.0)", "", "")
    assert qama[2:4] == ("57.5 ± 0.7", "59.3 (-1.8)")
    assert qama[6:] == ("-3.5 / -1.0", "-2.1 / -2.7")
    assert "-3.5, beyond the 2.7 points" in table.note
    assert table.markdown().splitlines()[1] == "| " + " | ".join(["---"] * 8) + " |"
    window = result_of("cifar10", "window", 0, 0.63, 0.64)
    row = accuracy.table(results(accuracy=[*lines, window])).rows[2]
    assert row == ("cifar10", "qama, window", "63.0", "", "64.0", "", "+2.0 / +2.0", "")
    monkeypatch.setattr(accuracy, "load", lambda name: {"accuracy": {"sst2": 0.825, "imdb": 0.9}})
    words = accuracy.table(results(accuracy=[result_of("sst2", "softmax", 0, 0.80, 0.81)])).rows[1:]
    assert words == [("sst2", "bag of words", "82.5", "", "82.5", "", "+2.5 / +1.5", "")]


def test_readouts_table_pairs_the_seeds():
    found = {
        ("softmax", 0): 0.90,
        ("softmax", 1): 0.92,
        ("window", 0): 0.91,
        ("window", 1): 0.91,
        ("window-importance", 1): 0.88,
        ("window-random", 0): 0.90,
        ("window-alone", 1): 0.935,
        ("mixed", 1): 0.94,
        ("mixed-descent", 1): 0.938,
    }
    shared = {"train_examples": 12_500, "model": {"depth": 2}}
    lines = [result_of("mnist-2", arm, seed, share, share, **shared) for (arm, seed), share in found.items()]
    table = readouts.table(results(readouts=lines))
    assert table.rows == [
        ("MNIST, 2 blocks", "softmax", "91.0 ± 1.4", "2", "", "", "", "", ""),
        ("MNIST, 2 blocks", ARMS["mixed"].label, "94.0", "1", "+2.0", "+0.5", "", "", "+0.2"),
        ("MNIST, 2 blocks", ARMS["mixed-descent"].label, "93.8", "1", "+1.8", "", "", "", ""),
        ("MNIST, 2 blocks", ARMS["window"].label, "91.0 ± 0.0", "2", "+0.0 ± 1.4", "-2.5", "+3.0", "+1.0", ""),
        ("MNIST, 2 blocks", ARMS["window-alone"].label, "93.5", "1", "+1.5", "", "", "", ""),
        ("MNIST, 2 blocks", ARMS["window-importance"].label, "88.0", "1", "-4.0", "", "", "", ""),
        ("MNIST, 2 blocks", ARMS["window-random"].label, "90.0", "1", "+0.0", "", "", "", ""),
    ]
    assert "12,500 training examples, 5 epochs, 2 blocks, windows of 17 tokens, 8 selected keys" in table.note


def test_output_folder_becomes_one_page(tmp_path):
    """Tables, figures and a page that needs no other file."""
    about = dataclasses.replace(TINY, study="accuracy", case="mnist")
    data = TINY.load(tmp_path)
    for arm in ("softmax", "qama"):
        # The tables are of the paper's data sets alone, none of which comes with a package.
        curve = {"auc": 0.5, "false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]}
        header = dataclasses.replace(about, attention=arm, arm=arm).header(data) | {"dataset": "mnist"}
        line = result_of("mnist", arm, 0, 0.9, 0.9, roc=curve)
        results_of(tmp_path, "accuracy").add(header | line)

    found = read_results(tmp_path)
    studies = {study.name: study for study in registry.STUDIES}
    tables = {name: table for name, study in studies.items() if (table := study.table(found)) is not None}
    assert list(tables) == ["settings", "accuracy"]
    assert tables["settings"].rows[0][:5] == ("mnist", "256 / 100", "5", "64", "16")
    figures = studies["roc"].figure(found, tmp_path / "figures")
    hostile = Table(("a",), [("<script>",)], "<b>")
    write_report(
        tmp_path / "report.html",
        budget="tiny",
        tables=[*tables.values(), hostile],
        figures=figures,
        results=found,
        provenance=provenance(),
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<table>") == 4
    assert page.count("data:image/png;base64,") == 1
    assert "<script>" not in page
    assert "<td>accuracy, mnist, softmax</td>" in page


def test_gap_of_the_solver(tmp_path):
    """Never negative, and the smaller the better the solver; the trained model comes from its checkpoint."""
    short = dataclasses.replace(TINY, training=TrainingSettings(epochs=1, batch_size=64))
    few = dataclasses.replace(short, solver=qama_jax.SimulatedBifurcation(num_steps=1, max_descent_steps=0))
    many = dataclasses.replace(short, solver=qama_jax.SimulatedBifurcation(num_steps=100, num_reads=32))
    runs = [dataclasses.replace(run, arm=arm) for arm, run in {"few": few, "many": many}.items()]
    lines = execute(runs, places(tmp_path), {"tiny": steps.train_and_measure})
    assert 0 <= lines[1]["gap"]["mean"] < 1e-3 < lines[0]["gap"]["mean"]
    assert results_of(tmp_path, "tiny").read()[0]["gap"] == lines[0]["gap"]


def test_fixed_selection_ignores_the_problem():
    problem = qama_jax.Qubo(np.diag([1.0, 1.0, -5.0, 1.0]))
    solution = qama_jax.solve(jax.random.key(0), problem, FixedSelection())
    assert solution.bits.tolist() == [0, 1, 0, 1]


def test_command_line():
    def names(*arguments):
        return [run.name for run in command.asked_runs(command.parse_arguments(arguments))]

    everything = command.parse_arguments([])
    assert command.asked_studies(everything) == list(registry.STUDIES)
    assert everything.budget == "paper"
    quick = command.parse_arguments(["--figure", "2", "--quick"])
    assert (quick.table, quick.figure, quick.study, quick.budget) == ([], [2], [], "quick")
    roc_runs = names("--figure", "2", "--datasets", "sst2")
    assert roc_runs == ["accuracy/sst2_softmax_seed0", "accuracy/sst2_qama_seed0"]
    none = names("--table", "III", "--datasets", "imdb", "sst2", "--arms", "none")
    assert none == ["accuracy/imdb_none_seed0", "accuracy/sst2_none_seed0"]
    of_one_case = names("--study", "readouts", "--cases", "groups-2", "--arms", "keys", "--seeds", "4", "5")
    assert of_one_case == ["readouts/groups-2_keys_seed4", "readouts/groups-2_keys_seed5"]
    assert names("--figure", "4", "--seeds", "4") == ["selection/cifar10_qama_seed4"]
    # What Tables IV and VII share is trained once.
    shared = names("--table", "IV", "VII")
    assert len(shared) == len(set(shared))
    figures = command.asked_studies(command.parse_arguments(["--figure", "6", "7"]))
    assert [study.name for study in figures] == ["heads", "lengths"]


NEW_STUDY = """
import dataclasses
from experiments.reproduce.spread import last_and_best
from experiments.reproduce.study import Study, Table
from test_reproduce import TINY

def runs(budget, seed):
    training = dataclasses.replace(TINY.training, seed=seed, epochs=1)
    for depth in (1, 2):
        yield dataclasses.replace(TINY, study="blocks", case=str(depth), arm="none", attention="none", depth=depth,
            training=training)

def table(results):
    rows = [f"{line['case']} | {last_and_best([line])}" for line in results["blocks"]]
    return Table.of("blocks | last epoch | best epoch", rows, "Blocks") if rows else None

STUDY = Study("blocks", runs, table)
"""


def test_a_new_study_is_a_file_and_a_line(tmp_path, monkeypatch, capsys):
    """It has its runs, its results, its table in the report, on the terminal and in the README."""
    (tmp_path / "blocks.py").write_text(NEW_STUDY)
    monkeypatch.syspath_prepend(tmp_path)
    import blocks

    monkeypatch.setattr(registry, "STUDIES", (*registry.STUDIES, blocks.STUDY))
    folders = ("--run-dir", str(tmp_path / "run"), "--cache-dir", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["reproduce", "--quick", "--study", "blocks", *folders])
    command.main()
    first, second = results_of(tmp_path / "run", "blocks").read()
    assert [line["model"]["depth"] for line in (first, second)] == [1, 2]
    cells = [f"{100 * line['last_accuracy']:.1f}" for line in (first, second)]
    assert all(cell in capsys.readouterr().out for cell in cells[:1])
    assert "<h2>Blocks</h2>" in (tmp_path / "run" / "report.html").read_text()
    written = readme.with_tables("<!-- table:blocks -->\n<!-- /table -->", tmp_path / "run")
    assert written.splitlines()[1:5] == [
        "| blocks | last epoch | best epoch |",
        "| --- | --- | --- |",
        f"| 1 | {cells[0]} | {cells[0]} |",
        f"| 2 | {cells[1]} | {cells[1]} |",
    ]
    command.main()
    assert results_of(tmp_path / "run", "blocks").read() == [first, second]
