"""The benchmark of general problems: its figures against hand calculations, and that it goes on where it stopped."""

import json

import numpy as np
import pytest

import qama_jax
from experiments import general_tables
from experiments.benchmarks import equal_time, small_optima, time_to_solution

RING = qama_jax.Ising.from_edges([0, 1, 2, 3, 4], [1, 2, 3, 4, 0], -np.ones(5))  # energies from -3
LOWEST = -3.0


@pytest.fixture
def saves():
    """How often a part has saved."""
    return []


def test_time_to_solution(saves):
    """After TTS99 / t runs, all have failed with probability 1 %."""
    rows = {}
    for _ in range(2):
        time_to_solution.measure({"ring": (RING, LOWEST)}, rows, 100, 0, lambda: saves.append(1))
    assert len(saves) == len(rows) == 3
    for row in rows.values():
        assert row["best_found"] == -LOWEST
        assert row["interval_s"][0] <= row["tts99_s"] <= row["interval_s"][1]
    for share in (0.05, 0.5, 0.9):
        runs = time_to_solution._time_to_solution(2.0, share) / 2.0
        assert (1 - share) ** runs == pytest.approx(0.01)
    assert time_to_solution._time_to_solution(2.0, 0.995) == time_to_solution._time_to_solution(2.0, 1.0) == 2.0
    assert time_to_solution._time_to_solution(2.0, 0.0) is None


def test_small_optima(saves):
    rows = {}
    for _ in range(2):
        found = {"ring": (RING, LOWEST), "beyond": (RING, LOWEST - 1)}
        small_optima.measure(found, rows, 0, lambda: saves.append(1))
    assert len(saves) == 2
    assert rows["ring"]["reached"]
    assert not rows["beyond"]["reached"]
    assert rows["ring"]["energy"] == rows["beyond"]["energy"] == LOWEST
    assert "1 of 2" in general_tables._small_optima(rows)
    assert "beyond (-3 of -4)" in general_tables._small_optima(rows)


def test_runs_that_are_there_are_not_repeated(monkeypatch, saves):
    monkeypatch.setattr(equal_time, "ours", lambda problem, seed, limit: {"cut": 10 * limit + seed})
    monkeypatch.setattr(equal_time, "theirs", lambda pool, problem, seed, limit: {"cut": 11})
    rows = {}
    for plan in ([(1.0, 2)], [(1.0, 3), (10.0, 1)]):
        equal_time.measure({"ring": (RING, LOWEST)}, rows, plan, lambda: saves.append(1))
    assert len(saves) == 4
    assert [run["seed"] for run in rows["ring 1"]["runs"]] == [0, 1, 2]
    assert rows["ring 1"]["best"] == -LOWEST
    table = general_tables._equal_time(rows)
    assert "| ring | 1 s | 3 | 11 (10 to 12) | 366.67% | 11 (11 to 11) | 3 |" in table
    assert "not behind in 2 of 2" in table
    rows["ring 10"]["runs"][0]["theirs"]["cut"] = 101
    assert "not behind in 1 of 2" in general_tables._equal_time(rows)


def test_tables_name_the_commit_and_wait_for_their_part(tmp_path):
    result = tmp_path / "result.json"
    assert general_tables.sparse_sweep_table(result) == "Not measured yet."
    row = {"bits": 2000, "reads": 64, "ours_s": 0.001, "theirs_s": 0.004, "ratio": 4.0}
    part = {"rows": {"G22": row}, "device": {"kind": "cpu"}, "cpu_cores": 2, "commit": "abc"}
    result.write_text(json.dumps({"parts": {"sweeps": part}}))
    table = general_tables.sparse_sweep_table(result)
    assert "| G22 | 2,000 | 64 | 1.00 | 4.00 | 4.0 |" in table
    assert table.endswith("Commit abc, cpu, 2 cores.")
    assert general_tables.time_to_solution_table(result) == "Not measured yet."
