"""Between QUBO matrices and the Ising matrices and samples of the Kaiwu SDK, in NumPy and float64.

The SDK minimises `H = -sᵀ M s`, the sum over all ordered pairs, over spins s in {-1, +1}. It knows no linear terms:
an auxiliary spin, the last one, carries them, so that for an Ising problem of couplings J and biases h

    M_ij = J_ij / 2,    M_i,aux = M_aux,i = h_i / 2,    x_i = (s_i s_aux + 1) / 2
"""

import numpy as np
from jaxtyping import Float, Int8, Num


def kaiwu_matrix(couplings: Num[np.ndarray, "n n"], biases: Num[np.ndarray, "n"]) -> Float[np.ndarray, "n+1 n+1"]:
    """The SDK's matrix M for `-½ σᵀ couplings σ - biasesᵀ σ`: equal energies where the auxiliary spin is +1.

    Args:
      couplings: [n, n], symmetric; its diagonal is a constant and is left out.
      biases: [n].

    Raises:
      ValueError: if the shapes do not fit, or `couplings` is not symmetric.
    """
    couplings, biases = np.asarray(couplings, np.float64), np.asarray(biases, np.float64)
    if couplings.ndim != 2 or couplings.shape != (biases.size, biases.size) or biases.ndim != 1:
        raise ValueError(
            f"couplings must be [n, n] and biases [n], got shapes {couplings.shape} and {biases.shape}; "
            "convert problems one by one"
        )
    if np.max(np.abs(couplings - couplings.T), initial=0) > 1e-9 * np.max(np.abs(couplings), initial=0):
        raise ValueError("couplings must be symmetric; pass (couplings + couplings.T) / 2")
    matrix = np.zeros((biases.size + 1, biases.size + 1))
    matrix[:-1, :-1] = couplings / 2
    np.fill_diagonal(matrix, 0)
    matrix[-1, :-1] = matrix[:-1, -1] = biases / 2
    return matrix


def qubo_to_kaiwu(qubo: Num[np.ndarray, "n n"]) -> tuple[Float[np.ndarray, "n+1 n+1"], float]:
    """The SDK's matrix M and a constant: `xᵀ qubo x = -sᵀ M s + constant` for every state.

    Args:
      qubo: [n, n], triangular or symmetric; minimised over bits x in {0, 1}.

    Raises:
      ValueError: if `qubo` is not square.

    Example:
      >>> import numpy as np
      >>> matrix, constant = qubo_to_kaiwu(np.array([[1.0, 2.0], [0.0, 3.0]]))
      >>> spins = np.array([1.0, -1.0, 1.0])
      >>> float(-spins @ matrix @ spins + constant)  # the bits 1 and 0
      1.0
    """
    qubo = np.asarray(qubo, np.float64)
    if qubo.ndim != 2 or qubo.shape[0] != qubo.shape[1]:
        raise ValueError(f"qubo must be square, [n, n], got shape {qubo.shape}; convert problems one by one")
    symmetric = (qubo + qubo.T) / 2
    linear = np.diagonal(symmetric)
    couplings = -(symmetric - np.diag(linear)) / 2
    biases = couplings.sum(axis=1) - linear / 2
    return kaiwu_matrix(couplings, biases), float(linear.sum() / 2 - couplings.sum() / 2)


def kaiwu_energies(matrix: Num[np.ndarray, "m m"], spins: Num[np.ndarray, "reads m"]) -> Float[np.ndarray, "reads"]:
    """`-sᵀ M s` of every row."""
    spins = np.atleast_2d(np.asarray(spins, np.float64))
    return -np.einsum("ri,ij,rj->r", spins, np.asarray(matrix, np.float64), spins, optimize=True)


def kaiwu_bits(spins: Num[np.ndarray, "reads n+1"]) -> Int8[np.ndarray, "reads n"]:
    """Bits from samples with the auxiliary spin last; a 1-D sample is one read.

    Raises:
      ValueError: if the samples are not of ±1.
    """
    spins = np.atleast_2d(np.asarray(spins))
    if not np.all(np.isin(spins, (-1, 1))):
        raise ValueError("spins must be -1 and +1; convert bits as 2 bits - 1")
    return ((spins[:, :-1] * spins[:, [-1]] + 1) / 2).astype(np.int8)
