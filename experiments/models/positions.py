"""Fixed sine-cosine position embeddings."""

import numpy as np
from jaxtyping import Float

_TEMPERATURE = 10_000.0


def sequence_positions(positions: Float[np.ndarray, "tokens"], features: int) -> Float[np.ndarray, "tokens features"]:
    """Sines, then cosines, of the positions times frequencies from 1 to 1/10,000.

    Raises:
      ValueError: if `features` is odd.
    """
    if features % 2:
        raise ValueError(f"features must be even for sine-cosine positions, got {features}")
    frequencies = _TEMPERATURE ** -np.linspace(0.0, 1.0, features // 2)
    angles = np.asarray(positions).reshape(-1, 1) * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def grid_positions(height: int, width: int, features: int) -> Float[np.ndarray, "tokens features"]:
    """`sequence_positions` of the column and of the row, half of the features each; tokens row by row.

    Raises:
      ValueError: if `features` is not a multiple of 4.
    """
    if features % 4:
        raise ValueError(f"features must be a multiple of 4 for sine-cosine positions in a grid, got {features}")
    rows, columns = np.mgrid[:height, :width]
    return np.concatenate([sequence_positions(grid, features // 2) for grid in (columns, rows)], axis=1)
