"""Figures of the paper from a trained SimpleViT with QAMA: head masks (3), energies and features (4)."""

from pathlib import Path

import jax
import matplotlib
import numpy as np
from flax import nnx

from experiments.models.simple_vit import SimpleViT
from qama_jax import AttentionDiagnostics

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Colour-blind safe (Okabe and Ito).
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def look_inside(model: SimpleViT, images: jax.Array) -> tuple[AttentionDiagnostics, jax.Array]:
    """What the last block's annealer selects for images [batch, height, width, channels].

    Returns:
      The diagnostics, and the features [batch, tokens, heads, head_dim] before the output projection.
    """
    _, intermediates = nnx.capture(model, nnx.Intermediate)(images, deterministic=True, sow=True)
    sown = {
        path[-1]: leaf.get_value()[0]
        for path, leaf in nnx.to_flat_state(intermediates)
        if path[1] == len(model.blocks) - 1
    }
    return sown["attention_diagnostics"], sown["attention_features"]


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
    axes[0, 0].set_title("image", fontsize=9)
    for head in range(heads):
        axis = axes[head // (columns - 1), 1 + head % (columns - 1)]
        mask = bits[head].reshape(grid).repeat(picture.shape[0] // grid[0], 0).repeat(picture.shape[1] // grid[1], 1)
        axis.imshow(picture, cmap="gray")
        overlay = np.zeros((*mask.shape, 4))
        overlay[..., :3] = matplotlib.colors.to_rgb(_ORANGE)
        overlay[..., 3] = 0.55 * mask
        axis.imshow(overlay)
        axis.set_title(f"head {head + 1}: {int(bits[head].sum())} of {bits.shape[1]}", fontsize=9)
    figure.suptitle("Tokens selected by each head")
    _save(figure, path)


def draw_energies(path: Path, token_energy: np.ndarray, features: np.ndarray, grid: tuple[int, int]) -> None:
    """Figure 4: mean energy of each token over the heads, and the distribution of the features.

    Args:
      path: PNG file to write.
      token_energy: [heads, tokens].
      features: [tokens, heads, head_dim], the distributed energy.
      grid: rows and columns of patches.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    heat = left.imshow(token_energy.mean(0).reshape(grid), cmap="cividis")
    left.set(title=f"Token energy, mean over heads (sum {token_energy.sum():.1f})", xlabel="column", ylabel="row")
    left.set(xticks=range(grid[1]), yticks=range(grid[0]))
    figure.colorbar(heat, ax=left, label="energy (dimensionless)")
    selected = (np.broadcast_to(token_energy.T[..., None], features.shape) != 0).reshape(-1)
    values = features.reshape(-1)
    right.hist(values[selected], bins=40, color=_BLUE)
    right.set(
        title=f"Features of selected tokens: mean {values[selected].mean():.2f}, std {values[selected].std():.2f}",
        xlabel="feature value",
        ylabel="count",
    )
    for axis in (left, right):
        axis.title.set_fontsize(9)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
