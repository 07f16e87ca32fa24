"""The paper's formulas in plain NumPy, dense and in float64, one term at a time. Independent of qama_jax.

All functions are analytic in their real inputs, so that a complex step differentiates them to rounding:
`Im f(x + i ε v) / ε` is the derivative along v.
"""

import itertools
from typing import NamedTuple

import numpy as np

RHO_0, GAMMA_0 = 0.16, 0.8


class Problem(NamedTuple):
    """Normalised terms of equation (3): couplings [H, N, N], importances [H, N], ρ and λ."""

    couplings: np.ndarray
    importances: np.ndarray
    rho: float
    penalty: float


def normalize(values, axis=0):
    """Mean 0 and standard deviation 1 along an axis; zeros where all are equal."""
    centred = values - values.mean(axis, keepdims=True)
    variance = (centred**2).mean(axis, keepdims=True)
    constant = np.abs(variance) < 1e-18 * (1 + np.abs(values**2).mean(axis, keepdims=True))
    return np.where(constant, 0, centred) / np.sqrt(np.where(constant, 1, variance))


def build(query, key, value, importance, mask=None, rho_0=RHO_0, gamma_0=GAMMA_0):
    """Equations (4) and (10) for query, value [N, H, D] and key [M, H, D].

    The mask [M] hides keys, and where M = N tokens: those keep zero couplings and importances.
    """
    tokens, heads, head_dim = query.shape
    visible = np.arange(len(key)) if mask is None else np.flatnonzero(mask)
    valid = visible if len(key) == tokens else np.arange(tokens)
    n = valid.size
    dtype = np.result_type(query, key, value, importance, np.float64)
    couplings = np.zeros((heads, tokens, tokens), dtype)
    importances = np.zeros((heads, tokens), dtype)
    off_diagonal = ~np.eye(n, dtype=bool)
    for t in range(heads):
        if n == 0:
            continue
        q = normalize(query[valid, t])
        k = normalize(key[visible, t]) if visible.size else np.zeros((1, head_dim))
        raw = q @ (k.T @ k) @ q.T / (2 * head_dim)
        pairs = raw[off_diagonal]
        normalized = np.zeros((n, n), dtype)
        if n > 2:  # one pair, counted twice, has no spread
            normalized[off_diagonal] = normalize(pairs)
        couplings[np.ix_([t], valid, valid)] = normalized
        importances[t, valid] = normalize(value[valid, t] @ importance)
    penalty = n * np.sqrt(2 / np.pi) * gamma_0 / (heads - 1) if heads > 1 else 0.0
    return Problem(couplings, importances, n * rho_0, penalty)


def energy(problem, s):
    """Equation (3), the sums as the paper writes them."""
    heads, tokens = s.shape
    upper = np.triu(np.ones((tokens, tokens)), 1)
    interaction = sum((problem.couplings[t] * upper * np.outer(s[t], s[t])).sum() for t in range(heads))
    importance = (problem.importances * s).sum()
    overlap = sum((s[t] * s[u]).sum() for t, u in itertools.combinations(range(heads), 2))
    return -interaction - problem.rho * importance + problem.penalty * overlap


def token_energy(problem, s):
    """The share of each token and head in E_out = -H_α - ρ H_β, equation (5)."""
    return -s * (np.einsum("tij,tj->ti", problem.couplings, s) / 2 + problem.rho * problem.importances)


def field(problem, s):
    """Equation (12): energy lost by setting a bit from 0 to 1."""
    others = s.sum(0) - s
    return np.einsum("tij,tj->ti", problem.couplings, s) + problem.rho * problem.importances - problem.penalty * others


def features(problem, s, importance, n, rho_0=RHO_0):
    """Equation (5), divided by the expected magnitude of a token energy from (8) and (9): [N, H, D]."""
    scale = n * (0.5 + rho_0) / np.sqrt(2 * np.pi)
    return (token_energy(problem, s) / scale).T[..., None] * importance


def directional_derivative(function, arguments, directions, step=1e-30):
    """Derivative of a real function of arrays along the given directions."""
    moved = [a + 1j * step * v for a, v in zip(arguments, directions, strict=True)]
    return np.imag(function(*moved)) / step


def all_states(num_bits):
    """Every state of `num_bits` bits, [2**num_bits, num_bits]."""
    return np.array(list(itertools.product((0, 1), repeat=num_bits)), np.int8)


def gate(problem, reads, beta, n):
    """The probability of each bit given all others, in units of the root mean square field, averaged over reads."""
    gates = []
    for s in reads:
        f = field(problem, s)
        unit = np.sqrt((f.real**2).sum(1, keepdims=True) / n)
        gates.append(1 / (1 + np.exp(-beta * f / unit)))
    return sum(gates) / len(gates)


def weighted_attention(query, key, value, weights, kept=1):
    """Softmax attention [N, H, D] with a factor for each key, weights [H, N, M]; 0 for queries that see no key.

    `kept`, broadcastable to [H, N, M], multiplies what the softmax gives.
    """
    kept = np.broadcast_to(kept, weights.shape)
    features = np.zeros(query.shape, np.result_type(query, key, value, weights))
    for t in range(query.shape[1]):
        for i in range(query.shape[0]):
            seen = weights[t, i].real > 0
            if seen.any():
                logits = key[seen, t] @ query[i, t] / np.sqrt(query.shape[2])
                terms = weights[t, i, seen] * np.exp(logits - logits.real.max())
                features[i, t] = (terms * kept[t, i, seen]) @ value[seen, t] / terms.sum()
    return features


def strongest(gates, s, num_keys):
    """The gates of the `num_keys` selected keys where they are largest, 0 elsewhere: [H, M].

    Hidden keys have the gate 0. Of a head that selects nothing, the largest gate alone.
    """
    kept = np.zeros_like(gates)
    for t in range(len(gates)):
        selected = np.flatnonzero(s[t])
        best = selected[np.argsort(-gates[t, selected].real)[:num_keys]]
        if len(selected) == 0:
            best = np.argmax(gates[t].real)
        kept[t, best] = gates[t, best]
    return kept


def window(valid, radius):
    """Which keys are visible neighbours, [N, N]."""
    position = np.arange(valid.size)
    return (np.abs(position[:, None] - position) <= radius) & valid


def linear_attention(query, key, value, weights, kept=1):
    """Linear attention [N, H, D] with the features elu + 1 and a factor for each key, weights [H, M].

    `kept`, broadcastable to [H, M], multiplies what division by the total gives.
    """
    kept = np.broadcast_to(kept, weights.shape)[:, None]

    def positive(x):
        return np.where(x.real > 0, x + 1, np.exp(np.where(x.real > 0, 0, x)))

    pairs = np.einsum("nhd,mhd->hnm", positive(query), positive(key)) * weights[:, None]
    total = pairs.sum(-1, keepdims=True)
    return np.einsum("hnm,mhd->nhd", kept * pairs / np.where(total.real > 0, total, 1), value)
