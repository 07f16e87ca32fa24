"""The benchmark of general problems: its figures against hand calculations, and that it goes on where it stopped."""

import numpy as np
import pytest

import qama_jax
from experiments.benchmarks import equal_time, general_lines, small_optima, sparse_sweep, time_to_solution
from experiments.result_files import ResultLines

RING = qama_jax.Ising.from_edges([0, 1, 2, 3, 4], [1, 2, 3, 4, 0], -np.ones(5))  # energies from -3
LOWEST = -3.0


@pytest.fixture
def lines(tmp_path):
    """An empty result file."""
    return general_lines.lines_of(tmp_path / "result.jsonl")


def count_additions(lines, monkeypatch):
    """The names of the lines that are added from now on."""
    added = []
    add = lines.add
    monkeypatch.setattr(lines, "add", lambda line: (added.append(line["name"]), add(line)))
    return added


def test_time_to_solution(lines, monkeypatch):
    """After TTS99 / t runs, all have failed with probability 1 %."""
    added = count_additions(lines, monkeypatch)
    for _ in range(2):
        time_to_solution.measure({"ring": (RING, LOWEST)}, lines, 100, 0)
    rows = lines.read()
    assert len(added) == len(rows) == 3
    for row in rows:
        assert row["graph"] == "ring"
        assert row["best_found"] == -LOWEST
        assert row["interval_s"][0] <= row["tts99_s"] <= row["interval_s"][1]
    fastest = min(rows, key=lambda row: row["tts99_s"])
    assert time_to_solution.make_table(rows).rows[0][:3] == ("ring", "3", f"`{fastest['solver']}`")
    for share in (0.05, 0.5, 0.9):
        runs = time_to_solution._time_to_solution(2.0, share) / 2.0
        assert (1 - share) ** runs == pytest.approx(0.01)
    assert time_to_solution._time_to_solution(2.0, 0.995) == time_to_solution._time_to_solution(2.0, 1.0) == 2.0
    assert time_to_solution._time_to_solution(2.0, 0.0) is None


def test_small_optima(lines, monkeypatch):
    added = count_additions(lines, monkeypatch)
    for _ in range(2):
        small_optima.measure({"ring": (RING, LOWEST), "beyond": (RING, LOWEST - 1)}, lines, 0)
    assert added == ["ring", "beyond"]
    rows = {line["name"]: line for line in lines.read()}
    assert rows["ring"]["reached"]
    assert not rows["beyond"]["reached"]
    assert rows["ring"]["energy"] == rows["beyond"]["energy"] == LOWEST
    table = dict(small_optima.make_table(lines.read()).rows)
    assert table["optima found"] == "1 of 2"
    assert table["missed"] == "beyond (-3 of -4)"


def test_runs_that_are_there_are_not_repeated(monkeypatch, lines):
    monkeypatch.setattr(equal_time, "ours", lambda problem, seed, limit: {"cut": 10 * limit + seed})
    monkeypatch.setattr(equal_time, "theirs", lambda pool, problem, seed, limit: {"cut": 11})
    added = count_additions(lines, monkeypatch)
    for plan in ([(1.0, 2)], [(1.0, 3), (10.0, 1)]):
        equal_time.measure({"ring": (RING, LOWEST)}, lines, plan)
    assert len(added) == 4
    rows = lines.read()
    assert [(row["limit_s"], row["seed"]) for row in rows] == [(1.0, 0), (1.0, 1), (1.0, 2), (10.0, 0)]
    table = equal_time.make_table(rows)
    assert table.rows[0] == ("ring", "1 s", "3", "11 (10 to 12)", "366.67%", "11 (11 to 11)", "3")
    assert "not behind in 2 of 2" in table.note
    rows[3]["theirs"]["cut"] = 101
    assert "not behind in 1 of 2" in equal_time.make_table(rows).note


def test_tables_name_the_commit_and_wait_for_their_part(lines):
    def table(benchmark, part):
        return general_lines.table_of(part, benchmark.make_table, lines.path).markdown()

    assert table(sparse_sweep, "sweeps") == "Not measured yet."
    row = {"bits": 2000, "reads": 64, "ours_s": 0.001, "theirs_s": 0.004, "ratio": 4.0}
    where = {"device": {"kind": "cpu"}, "cpu_cores": 2, "commit": "abc"}
    lines.add({"part": "sweeps", "name": "G22", **row, **where})
    written = table(sparse_sweep, "sweeps")
    assert "| G22 | 2,000 | 64 | 1.00 | 4.00 | 4.0 |" in written
    assert written.endswith("Commit abc, cpu, 2 cores.")
    assert table(time_to_solution, "tts") == "Not measured yet."


@pytest.mark.parametrize("in_order", [False, True])
def test_a_line_of_other_settings_is_not_taken_for_this_one(tmp_path, in_order):
    """A file goes on where it stopped, in the order of the measurements or of the names."""
    measured = []
    lines = ResultLines(tmp_path / "result.jsonl", "name", in_order=in_order)

    def measure():
        measured.append(len(measured))
        return {"value": measured[-1]}

    for name in ("b", "a", "b"):
        lines.fill({"name": name, "setting": (1, 2)}, measure)
    assert [line["name"] for line in lines.read()] == (["a", "b"] if in_order else ["b", "a"])
    assert lines.find({"name": "a", "setting": (1, 2)})["value"] == 1
    with pytest.raises(ValueError, match=r"b in .*result.jsonl is of other settings \(setting\); remove it"):
        lines.fill({"name": "b", "setting": (1, 3)}, measure)
    lines.fill({"name": "b", "setting": (1, 3)}, measure, fresh=True)
    assert [line["value"] for line in lines.read()] == ([1, 2] if in_order else [2, 1])
    assert measured == [0, 1, 2]
