"""Problems of the library beside the same in plain NumPy, dense and in float64, on which steps are checked."""

import dataclasses

import numpy as np
import oracle

import qama_jax


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """`E(x) = offset - bᵀx - ½ xᵀCx`, on bits of a shape; the order in which a sweep visits them, many at a time."""

    couplings: np.ndarray
    linear: np.ndarray
    shape: tuple[int, ...]
    free: np.ndarray
    colors: list[list[int]]
    offset: float = 0.0

    def field(self, x):
        return (self.linear + self.couplings @ x.reshape(-1)).reshape(self.shape)

    def energy(self, x):
        x = x.reshape(-1) * self.free
        return self.offset - self.linear @ x - x @ self.couplings @ x / 2

    def scale(self):
        """Root-mean-square norm of the rows of C, over the bits that are free."""
        return np.sqrt((self.couplings**2).sum() / self.free.sum())

    def smallest_field(self):
        """The lesser of r²/(scale √n), r the smallest norm of a row, and of the harmonic mean of half the couplings."""
        norms = np.linalg.norm(self.couplings, axis=1)
        terms = np.abs(self.couplings[self.couplings != 0]) / 2
        return min(norms[norms > 0].min() ** 2 / (self.scale() * np.sqrt(norms.size)), 1 / np.mean(1 / terms))

    def states(self):
        """All states of the bits that are free, [states, *shape]."""
        states = oracle.all_states(int(self.free.sum()))
        everywhere = np.zeros((len(states), self.free.size), np.int8)
        everywhere[:, self.free] = states
        return everywhere.reshape(-1, *self.shape)


def spins(couplings, biases):
    """Energies `-½ σᵀJσ - hᵀσ` over bits by σ = 2x - 1; J symmetric without a diagonal, both float32."""
    problem = qama_jax.Ising(couplings, biases)
    couplings, biases = np.asarray(couplings, np.float64), np.asarray(biases, np.float64)
    linear, offset = 2 * biases - 2 * couplings.sum(1), biases.sum() - couplings.sum() / 2
    size = len(biases)
    colors = [[i] for i in range(size)]
    return problem, Quadratic(4 * couplings, linear, (size,), np.ones(size, bool), colors, offset)


def ising(size=6, seed=0, loose=0):
    """Random couplings and biases, but none for the last spins."""
    rng = np.random.default_rng(seed)
    matrix, biases = rng.standard_normal((size, size)).astype(np.float32), rng.standard_normal(size).astype(np.float32)
    couplings = np.triu(matrix, 1)
    couplings[:, size - loose :] = biases[size - loose :] = 0
    return spins(couplings + couplings.T, biases)


def antiferromagnet(size=12):
    """All spins against each other, so that moves which lower the energy alone raise it together."""
    return spins(np.eye(size, dtype=np.float32) - 1, np.arange(size, dtype=np.float32) / 64)


def qubo(size=6, seed=1):
    """A matrix that is not symmetric."""
    matrix = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)
    wide = matrix.astype(np.float64)
    couplings = -(wide + wide.T)
    np.fill_diagonal(couplings, 0)
    colors = [[i] for i in range(size)]
    return qama_jax.Qubo(matrix), Quadratic(couplings, -np.diag(wide), (size,), np.ones(size, bool), colors)


def attention(tokens=5, heads=3, head_dim=2, seed=0, hidden=1):
    """The Hamiltonian of equation (3), one token of it padded."""
    rng = np.random.default_rng(seed)
    inputs = *rng.standard_normal((3, tokens, heads, head_dim)).astype(np.float32), np.ones(head_dim, np.float32)
    mask = np.arange(tokens) != hidden
    terms = oracle.build(*(array.astype(np.float64) for array in inputs), mask)
    couplings = np.zeros((heads, tokens, heads, tokens))
    for t in range(heads):
        for u in range(heads):
            couplings[t, :, u] = terms.couplings[t] if t == u else -terms.penalty * np.diag(mask)
    colors = [
        [t * tokens + color - t for t in range(heads) if 0 <= color - t < tokens] for color in range(tokens + heads - 1)
    ]
    size = heads * tokens
    reference = Quadratic(
        couplings.reshape(size, size),
        terms.rho * terms.importances.reshape(size),
        (heads, tokens),
        np.tile(mask, heads),
        colors,
    )
    return qama_jax.attention_hamiltonian(*inputs, mask=mask), reference
