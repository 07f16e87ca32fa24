"""What there is in the output folder, and the tables and figures made from it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import draw_energies, draw_flips, draw_head_masks, draw_roc, draw_variation
from experiments.look import Look
from experiments.reproduce import paper
from experiments.reproduce.arms import PUBLISHED, arm_of
from experiments.reproduce.claims import claims_table
from experiments.reproduce.mechanisms import cost_table, mechanism_results, table_vii
from experiments.reproduce.readouts import readouts_table
from experiments.reproduce.tables import Table, factors_table, speed_table, steps_table, table_i, table_iii
from experiments.reproduce.variants import HEADS, POOLS, STUDIES, pooled_tokens
from experiments.reproduce.variations import heads_accuracy, pools_accuracy, table_iv, table_v, variation_panels

_COSTS = Path(__file__).parents[1] / "results" / "benchmark_mechanisms.json"


class Results(NamedTuple):
    """Contents of result files.

    Attributes:
      runs: finished runs of Table III by their names.
      steps: those of the study of the solver budget.
      gaps: of each of them, how far its solver stays behind.
      factors: those of the study of factors.
      readouts: those of the study of read-outs.
      heads: those of Table IV.
      lengths: those of Table V.
      mechanisms: those that Table VII has besides.
      costs: the benchmark of mechanisms, None where it was not run.
      speed: of each data set, both arms side by side.
      look: what the trained model selects, see `Look`, and the image; None where it was not looked at.
    """

    runs: dict[str, dict[str, Any]]
    steps: dict[str, dict[str, Any]]
    gaps: dict[str, dict[str, float]]
    factors: dict[str, dict[str, Any]]
    readouts: dict[str, dict[str, Any]]
    heads: dict[str, dict[str, Any]]
    lengths: dict[str, dict[str, Any]]
    mechanisms: dict[str, dict[str, Any]]
    costs: dict[str, Any] | None
    speed: dict[str, dict[str, Any]]
    look: dict[str, Any] | None


def read_results(output: Path) -> Results:
    """All results in the output folder."""
    finished: dict[str, dict[str, dict[str, Any]]] = {
        study: {} for study in ("steps", "factor", "readout", *STUDIES, "runs")
    }
    for path in sorted((output / "runs").glob("*.json")):
        result = json.loads(path.read_text())
        if result["complete"]:
            # Older files do not say in their header what they are of.
            study = result.get("study") or path.stem.split("_")[0]
            finished[study if study in finished else "runs"][path.stem] = result
    gaps = _read(output / "gaps.json") or {"gaps": {}}
    speed = _read(output / "speed.json") or {"datasets": {}}
    return Results(
        finished["runs"],
        {name: result for name, result in finished["steps"].items() if name in gaps["gaps"]},
        gaps["gaps"],
        finished["factor"],
        finished["readout"],
        finished["heads"],
        finished["lengths"],
        finished["mechanisms"],
        _read(_COSTS),
        speed["datasets"],
        _read(output / "look.json"),
    )


def make_tables(results: Results) -> dict[str, Table]:
    """The tables for which there are results."""
    tables = {}
    if results.runs:
        tables["I"] = table_i(results.runs.values())
        tables["III"] = table_iii(results.runs.values())
    if results.steps:
        tables["steps"] = steps_table(results.steps, results.gaps)
    if results.factors:
        tables["factors"] = factors_table(results.factors)
    if results.heads:
        tables["IV"] = table_iv(results.heads)
    if results.lengths:
        tables["V"] = table_v(results.lengths)
    compared = mechanism_results(results.heads, results.mechanisms)
    if compared:
        tables["VII"] = table_vii(compared)
    if compared and results.costs:
        tables["costs"] = cost_table(results.costs)
    if results.heads or results.lengths or results.mechanisms:
        tables["claims"] = claims_table(results.runs, results.heads, results.lengths, results.mechanisms, results.costs)
    if results.readouts:
        tables["readouts"] = readouts_table(results.readouts)
    if results.speed:
        tables["speed"] = speed_table(results.speed)
    return tables


def make_figures(results: Results, folder: Path) -> dict[str, Path]:
    """Draws the figures for which there are results; PNG files in `folder` by their captions."""
    figures = {}
    curves: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results.runs.values():
        if "roc" in result and arm_of(result) in PUBLISHED:
            curves.setdefault(result["dataset"], {}).setdefault(result["attention"], result["roc"])
    if curves:
        path = folder / "figure2.png"
        draw_roc(path, curves)
        figures["Figure 2: receiver operating characteristic on the test split after the last epoch."] = path
    if results.heads:
        path = folder / "figure6.png"
        panels = variation_panels(heads_accuracy(results.heads.values()), HEADS, lambda _, heads: heads, paper.HEADS)
        draw_variation(path, panels, "heads")
        figures["Figure 6: best accuracy over the number of heads, mean and standard deviation over the seeds."] = path
    if results.lengths:
        path = folder / "figure7.png"
        panels = variation_panels(pools_accuracy(results.lengths.values()), POOLS, pooled_tokens, paper.POOLS)
        draw_variation(path, panels, "tokens")
        figures["Figure 7: best accuracy over the length, mean and standard deviation over the seeds."] = path
    if results.look is not None:
        figures |= _look_figures(results.look, folder)
    return figures


def _look_figures(saved: dict[str, Any], folder: Path) -> dict[str, Path]:
    look = Look(
        np.array(saved["bits"]),
        saved["energy"],
        np.array(saved["token_energy"]),
        np.array(saved["features"]),
        np.array(saved["flipped"]),
    )
    grid = tuple(saved["grid"])
    masks, energies, flips = (folder / f"figure{number}.png" for number in (3, 4, 5))
    draw_head_masks(masks, np.array(saved["image"], np.uint8), look.bits, grid)
    draw_energies(energies, look, grid)
    draw_flips(flips, look)
    return {
        f"Figure 3: tokens that each head selects on test image {saved['index']} of {saved['dataset']}.": masks,
        f"Figure 4: energies and features of the same image. Paper: energy {paper.ENERGY}, features of mean 0.00 and "
        f"standard deviation {paper.FEATURE_DEVIATION}.": energies,
        "Figure 5: energies after single flips, and the plane of the solution. Paper: solution "
        f"{paper.SURFACE_ENERGY:,}, mean after a flip {paper.SURFACE_FLIPPED_ENERGY:,}.": flips,
    }


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
