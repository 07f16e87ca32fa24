"""Problems of different sizes as one batch."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qama_jax.problems.quadratic import Quadratic


def stack_problems(problems: Sequence[Quadratic]) -> Any:
    """Pads QUBOs, or Ising problems, to one shape and stacks them, for one call that solves them all.

    The batch is sparse where every problem is, else dense. Problems of fewer bits get bits at the end that no energy
    depends on; drop them from the answers. Runs on the host.

    Args:
      problems: all of one class.

    Returns:
      A problem whose arrays have a leading axis, to be mapped over by `jax.vmap`.

    Raises:
      ValueError: if there are none, or they are of several classes.

    Example:
      >>> import jax, qama_jax
      >>> problems = [qama_jax.Qubo([[-1.0]]), qama_jax.Qubo([[2.0, 0.0], [-3.0, 0.0]])]
      >>> batch = qama_jax.stack_problems(problems)
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> solve = jax.vmap(qama_jax.solve, in_axes=(0, 0, None))
      >>> solve(keys, batch, qama_jax.SteepestDescent()).energy
      Array([-1., -1.], dtype=float32)
    """
    if not problems or len({type(problem) for problem in problems}) > 1:
        raise ValueError("problems must be one Qubo or more, or one Ising or more, and not of both; convert them")
    size = max(problem.shape[0] for problem in problems)
    cls, is_sparse = type(problems[0]), all(problem.is_sparse for problem in problems)
    alike = [cls.from_terms(problem.terms().padded(size), is_sparse=is_sparse) for problem in problems]
    return jax.tree_util.tree_map_with_path(_stack, *alike)


def _stack(path: tuple[Any, ...], *leaves: Array) -> Array:
    """Leaves as one array, each filled up to the largest of them."""
    shape = np.max([leaf.shape for leaf in leaves], axis=0).astype(int)
    fill = -1 if path[-1].name in ("steps", "step_entries") else 0
    stacked = np.full((len(leaves), *shape), fill, leaves[0].dtype)
    for index, leaf in enumerate(leaves):
        stacked[index, *(slice(length) for length in leaf.shape)] = leaf
    return jnp.asarray(stacked)
