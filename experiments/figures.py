"""The figures of the paper, in one style."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from experiments.look import Look

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Colour-blind safe (Okabe and Ito).
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_COLOURS = {
    "softmax": _BLUE,
    "qama": _ORANGE,
    "window": "#009E73",
    "none": "0.5",
    "linear": "#999933",
    "longformer": "#CC79A7",
    "bigbird": "#56B4E9",
    "linformer": "#E69F00",
    "performer": "#882255",
    "reformer": "black",
}
_STYLE = {"font.size": 9, "axes.titlesize": 9, "figure.titlesize": 10, "legend.frameon": False}
plt.rcParams.update(_STYLE)


class Curve(NamedTuple):
    """Accuracies of one arm.

    Attributes:
      places: on the axis.
      values: at each place, of every seed, per cent.
    """

    places: Sequence[float]
    values: Sequence[Sequence[float]]


def draw_roc(path: Path, curves: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    """Figure 2: receiver operating characteristics.

    Args:
      path: PNG file to write.
      curves: of each data set, for each attention the `roc` of a result file.
    """
    figure, axes = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3.8), squeeze=False, layout="constrained")
    for axis, (dataset, arms) in zip(axes[0], curves.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle=":")
        for attention, roc in arms.items():
            axis.plot(
                roc["false_positive_rate"],
                roc["true_positive_rate"],
                color=_COLOURS[attention],
                linestyle="-" if attention == "qama" else "--",
                label=f"{attention}, AUC {roc['auc']:.3f}",
            )
        axis.set(title=dataset, xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
        axis.legend(loc="lower right")
    _save(figure, path)


def draw_head_masks(path: Path, image: np.ndarray, bits: np.ndarray, grid: tuple[int, int]) -> None:
    """Figure 3: the patches that each head selects, over the image.

    Args:
      path: PNG file to write.
      image: [height, width, channels], values 0 to 255.
      bits: [heads, tokens].
      grid: rows and columns of patches.
    """
    heads = bits.shape[0]
    columns = min(heads, 4) + 1
    rows = -(-heads // (columns - 1))
    figure, axes = plt.subplots(rows, columns, figsize=(1.7 * columns, 1.9 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    picture = np.asarray(image, np.uint8).squeeze()
    axes[0, 0].imshow(picture, cmap="gray")
    axes[0, 0].set_title("image")
    for head in range(heads):
        axis = axes[head // (columns - 1), 1 + head % (columns - 1)]
        mask = bits[head].reshape(grid).repeat(picture.shape[0] // grid[0], 0).repeat(picture.shape[1] // grid[1], 1)
        axis.imshow(picture, cmap="gray")
        overlay = np.zeros((*mask.shape, 4))
        overlay[..., :3] = matplotlib.colors.to_rgb(_ORANGE)
        overlay[..., 3] = 0.55 * mask
        axis.imshow(overlay)
        axis.set_title(f"head {head + 1}: {int(bits[head].sum())} of {bits.shape[1]}")
    figure.suptitle("Tokens selected by each head")
    _save(figure, path)


def draw_energies(path: Path, look: Look, grid: tuple[int, int]) -> None:
    """Figure 4: mean energy of each token over the heads, and the distribution of the features.

    Args:
      path: PNG file to write.
      look: what a block selects.
      grid: rows and columns of patches.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    heat = left.imshow(look.token_energy.mean(0).reshape(grid), cmap="cividis")
    left.set(title=f"Token energy, mean over heads (sum over both {look.token_energy.sum():.1f})")
    left.set(xlabel="column", ylabel="row", xticks=range(grid[1]), yticks=range(grid[0]))
    figure.colorbar(heat, ax=left, label="energy (dimensionless)")
    values = look.features[look.bits.T != 0].reshape(-1)
    right.hist(values, bins=40, color=_BLUE)
    right.set(
        title=f"Features of selected tokens: mean {values.mean():.2f}, std {values.std():.2f}",
        xlabel="feature value",
        ylabel="count",
    )
    _save(figure, path)


def draw_read_tokens(
    path: Path,
    image: np.ndarray,
    keys: np.ndarray,
    in_group: np.ndarray,
    grid: tuple[int, int],
    label: int,
) -> None:
    """The pairs of digits of a sequence, and which of them each head reads.

    Args:
      path: PNG file to write.
      image: [height, width, 2], marks and symbols.
      keys: [heads, keys], the tokens that are read.
      in_group: [tokens], which share their mark.
      grid: rows and columns of tokens.
      label: the class.
    """
    rows, columns = grid
    height, width = image.shape[0] // rows, image.shape[1] // columns
    figure, axes = plt.subplots(rows, columns, figsize=(1.15 * columns, 0.78 * rows + 0.9), layout="constrained")
    for token, axis in enumerate(axes.flat):
        row, column = divmod(token, columns)
        patch = image[row * height : (row + 1) * height, column * width : (column + 1) * width]
        axis.imshow(np.concatenate([patch[..., 0], patch[..., 1]], axis=1), cmap="gray_r", vmin=0, vmax=255)
        axis.axvline(width - 0.5, color="0.7", linewidth=0.8)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color=_BLUE if in_group[token] else "0.8", linewidth=2.5 if in_group[token] else 0.8)
        heads = [str(head + 1) for head in range(len(keys)) if token in keys[head]]
        if heads:
            axis.set_xlabel(f"head {', '.join(heads)}", color=_ORANGE, fontsize=8, fontweight="bold", labelpad=1)
    figure.suptitle(
        f"Marks (left) and symbols (right); blue: the tokens that share a mark, label {label}; orange: keys read"
    )
    _save(figure, path)


def draw_flips(path: Path, look: Look) -> None:
    """Figure 5: the energies after single flips, above the plane of the solution found.

    Args:
      path: PNG file to write.
      look: what a block selects.
    """
    heads, tokens = look.bits.shape
    head, token = np.meshgrid(np.arange(1, heads + 1), np.arange(1, tokens + 1), indexing="ij")
    figure = plt.figure(figsize=(9.5, 4), layout="constrained")
    surface = figure.add_subplot(1, 2, 1, projection="3d")
    surface.plot_surface(token, head, look.flipped, cmap="cividis", linewidth=0)
    surface.plot_surface(token, head, np.full(look.flipped.shape, look.energy), color=_ORANGE, alpha=0.4)
    surface.set(xlabel="token", ylabel="head")
    surface.set_zlabel("energy", labelpad=12)
    surface.set_box_aspect(None, zoom=0.85)
    surface.set_title(f"Energy after one flip: mean {look.flipped.mean():.1f}; plane: solution, {look.energy:.1f}")
    flat = figure.add_subplot(1, 2, 2)
    heat = flat.imshow(
        look.flipped - look.energy, aspect="auto", cmap="cividis", extent=(0.5, tokens + 0.5, heads + 0.5, 0.5)
    )
    flat.set(xlabel="token", ylabel="head", yticks=range(1, heads + 1), title="The same, above the solution")
    figure.colorbar(heat, ax=flat, label="energy change (dimensionless)")
    _save(figure, path)


def draw_variation(path: Path, panels: Mapping[str, Mapping[str, Curve]], label: str) -> None:
    """Figures 6 and 7: accuracy over a setting, mean and standard deviation over the seeds.

    Args:
      path: PNG file to write.
      panels: of each data set, curves by arm; those of the paper end with ", paper".
      label: of the axis, which is logarithmic.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.6), squeeze=False, layout="constrained")
    for axis, (dataset, curves) in zip(axes[0], panels.items(), strict=True):
        for name, (places, values) in curves.items():
            arm = name.removesuffix(", paper")
            means = [np.mean(seeds) for seeds in values]
            if name != arm:
                axis.plot(places, means, color=_COLOURS[arm], marker="x", linestyle=":", alpha=0.6, label=name)
                continue
            spread = [np.std(seeds, ddof=1) if len(seeds) > 1 else 0 for seeds in values]
            axis.errorbar(places, means, spread, color=_COLOURS[arm], marker="o", markersize=4, capsize=3, label=name)
        ticks = sorted({place for curve in curves.values() for place in curve.places})
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set(title=dataset, xlabel=label, ylabel="best test accuracy, %")
    axes[0, 0].legend(fontsize=8)
    _save(figure, path)


def draw_over_time(path: Path, panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> None:
    """Accuracy over the time of training.

    Args:
      path: PNG file to write.
      panels: of each task, for each arm and seed, by a label, minutes and accuracies in per cent.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.4 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
    colours = dict(zip(labels, plt.get_cmap("tab10" if len(labels) <= 10 else "tab20").colors, strict=False))
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (task, curves) in zip(axes.flat, panels.items(), strict=False):
        for label, seeds in curves.items():
            for index, (minutes, accuracies) in enumerate(seeds):
                axis.plot(minutes, accuracies, color=colours[label], label=None if index else label, linewidth=1.2)
        axis.set(title=task, xlabel="minutes of training", ylabel="test accuracy, %")
    handles = {label: plt.Line2D([], [], color=colours[label]) for label in labels}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=7)
    _save(figure, path)


def draw_costs(path: Path, scaling: Mapping[str, Any]) -> None:
    """Time and temporary memory of each mechanism over the length.

    Args:
      path: PNG file to write.
      scaling: that part of the result file of the benchmark of mechanisms.
    """
    figure, (time, memory) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, arm in scaling["arms"].items():
        seconds = {int(tokens): row["median_s"] * 1e3 for tokens, row in arm["seconds"].items()}
        megabytes = {int(tokens): value / 1e6 for tokens, value in arm["temporary_bytes"].items()}
        for axis, values, slope in ((time, seconds, "exponent"), (memory, megabytes, "memory_exponent")):
            axis.loglog(
                values.keys(), values.values(), marker="o", color=_COLOURS[name], label=f"{name}, {arm[slope]:.2f}"
            )
    time.set(xlabel="tokens", ylabel="forward + backward, ms", title="Time, and exponent of the length")
    memory.set(xlabel="tokens", ylabel="temporary memory, MB", title="Memory, and exponent of the length")
    for axis in (time, memory):
        axis.set_xticks(scaling["lengths"], [f"{tokens:,}" for tokens in scaling["lengths"]], minor=False)
        axis.minorticks_off()
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
