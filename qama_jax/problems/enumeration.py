"""Every state of a few variables, on the host."""

import numpy as np

from qama_jax.problems.terms import Terms

_BLOCK_BITS = 12


def lowest_state(terms: Terms) -> np.ndarray:
    """A state of lowest energy of all 2^n, the first where several are, counted with bit 0 as the lowest digit.

    Exact where `Terms.energies` is, else by sums in float64.

    Returns:
      Bits, int8 [n].
    """
    linear, values = terms.linear, terms.values
    if terms.quarters is not None:
        linear, values = terms.quarters[: terms.size], terms.quarters[terms.size : -1]
    pairs = np.zeros((terms.size, terms.size), np.result_type(linear, values))
    pairs[terms.rows, terms.columns] = values
    # The first variables run through all of their states in each block, the others stand still.
    split = min(terms.size, _BLOCK_BITS)

    def states(numbers: np.ndarray, size: int) -> np.ndarray:
        bits = numbers[:, None] >> np.arange(size) & 1
        return (2 * bits - 1 if terms.spins else bits).astype(pairs.dtype)

    block = states(np.arange(2**split), split)
    within = np.sum(block @ pairs[:split, :split] * block, axis=1) + block @ linear[:split]
    best, lowest = 0, None
    for index, rest in enumerate(states(np.arange(2 ** (terms.size - split)), terms.size - split)):
        alone = rest @ pairs[split:, split:] @ rest + rest @ linear[split:]
        energies = within + block @ (pairs[:split, split:] @ rest) + alone
        place = int(np.argmin(energies))
        if lowest is None or energies[place] < lowest:
            best, lowest = index * 2**split + place, energies[place]
    return (best >> np.arange(terms.size) & 1).astype(np.int8)
