"""Sparse symmetric matrices in a form whose products vectorise: lists of neighbours, and the bits by colour."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qama_jax.problems.base import register_pytree
from qama_jax.problems.coloring import plan_steps
from qama_jax.problems.row_order import in_row_order
from qama_jax.problems.terms import Terms

# Entries of a list that one fused loop adds up; more only compile longer.
_UNROLL = 8

# A list is at most this many times as long as the mean, so that padding costs a constant factor; longer rows take
# several lists.
_SKEW = 4

_MAX_DENSE_BYTES = 2**31


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class SparseCouplings:
    """A symmetric [n, n] matrix by its diagonal and its rows' lists of entries, in memory linear in their number.

    List i holds entries of row i for i < n; the others continue the rows of many entries. Bits are coloured so that
    no two of a colour are coupled, and the colours cut into steps of about equal size: a sequential solver moves all
    bits of a step at once, exactly as if one after another.

    Attributes:
      diagonal: [n].
      neighbors: int32 [width, lists], columns of the entries.
      weights: [width, lists], their values, 0 where a list is shorter.
      owners: int32 [lists - n], the rows that the lists from n on belong to.
      steps: int32 [steps, size], the bits that a step moves, -1 where there are fewer.
      step_entries: int32 [chunks, unroll, size], the entries of those bits' rows by their place in the flattened
        lists, -1 where a row has fewer; as many chunks for each step as its longest row needs, one at least.
      step_chunks: int32 [steps], how many that are.
    """

    diagonal: Float[Array, "n"]
    neighbors: Int[Array, "width lists"]
    weights: Float[Array, "width lists"]
    owners: Int[Array, "extra"]
    steps: Int[Array, "steps size"]
    step_entries: Int[Array, "chunks unroll size"]
    step_chunks: Int[Array, "steps"]

    @classmethod
    def from_pairs(cls, diagonal: np.ndarray, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, dtype):
        """Couplings with values at (row, column) and (column, row); each pair is there once."""
        size = len(diagonal)
        heads, tails = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        order = np.lexsort((tails, heads))
        heads, tails, entries = heads[order], tails[order], np.concatenate([values, values])[order]
        degrees = np.bincount(heads, minlength=size)
        width = list_width(degrees)
        extra = np.maximum(-(-degrees // width) - 1, 0)
        owners = np.repeat(np.arange(size), extra)
        place = np.arange(len(heads)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
        first_extra = size + np.cumsum(extra) - extra
        lists = np.where(place < width, heads, first_extra[heads] + place // width - 1)
        neighbors = np.zeros((width, size + len(owners)), np.int32)
        weights = np.zeros(neighbors.shape, dtype)
        neighbors[place % width, lists] = tails
        weights[place % width, lists] = entries
        steps = plan_steps(np.split(tails, np.cumsum(degrees)[:-1]))
        step_entries, step_chunks = _chunks(steps, degrees, heads, place, place % width * neighbors.shape[1] + lists)
        arrays = (diagonal.astype(dtype), neighbors, weights, owners.astype(np.int32), steps, step_entries, step_chunks)
        return cls(*map(jnp.asarray, arrays))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, n), after the axes of a batch."""
        return (*self.diagonal.shape, self.diagonal.shape[-1])

    @property
    def ndim(self) -> int:
        """2, and more for a batch."""
        return self.diagonal.ndim + 1

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the entries."""
        return self.weights.dtype

    @property
    def entries(self) -> Float[Array, "width lists"]:
        """The entries off the diagonal, as lists; 0 where there is none."""
        return self.weights

    def product(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        """The product with x, without the diagonal."""
        return _product(self.neighbors, self.weights, self.owners, x)

    def quadratic_form(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """`xᵀ matrix x`, with the diagonal."""
        return jnp.sum((self.product(x) + self.diagonal * x) * x)

    def scaled(self, factor: float, diagonal: Float[Array, "n"]) -> "SparseCouplings":
        """The entries times a factor, with another diagonal."""
        return dataclasses.replace(self, weights=factor * self.weights, diagonal=diagonal)

    def row_sums(self, values: Float[Array, "width lists"]) -> Float[Array, "n"]:
        """Sums over the rows of a function of the entries."""
        return _of_rows(jnp.sum(values, axis=0), self.owners)

    def to_dense(self) -> Float[Array, "n n"]:
        """The matrix as an array.

        Raises:
          ValueError: where it would take more than 2 GiB.
        """
        n = self.diagonal.shape[0]
        check_dense_size(n, self.dtype)
        rows = jnp.concatenate([jnp.arange(n), self.owners])
        matrix = jnp.zeros((n, n), self.dtype).at[rows[None], self.neighbors].add(self.weights)
        return matrix + jnp.diag(self.diagonal)

    def to_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, larger columns, and the sums of the two entries of each pair, on the host in float64."""
        neighbors, weights = np.asarray(self.neighbors), np.asarray(self.weights, np.float64)
        owners = np.concatenate([np.arange(len(self.diagonal)), np.asarray(self.owners)])
        rows = np.broadcast_to(owners[None], neighbors.shape)
        upper = (weights != 0) & (rows < neighbors)
        return rows[upper], neighbors[upper], 2 * weights[upper]


def list_width(degrees: np.ndarray) -> int:
    """Length of the lists: the longest row, or 4 times the mean where that is shorter; whole fused loops."""
    width = max(1, min(int(degrees.max()), _SKEW * -(-int(degrees.sum()) // len(degrees))))
    loops = -(-width // _UNROLL)
    return loops * -(-width // loops)


def _chunks(
    steps: np.ndarray, degrees: np.ndarray, rows: np.ndarray, place: np.ndarray, entries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`step_entries` and `step_chunks`, from the row of each entry and its place within."""
    unroll = max(1, min(_UNROLL, int(degrees.max())))
    longest = np.max(np.where(steps >= 0, degrees[steps], 0), axis=1)
    step_chunks = np.maximum(-(-longest // unroll), 1).astype(np.int32)
    step, slot = (np.zeros(len(degrees), int) for _ in range(2))
    step[steps[steps >= 0]], slot[steps[steps >= 0]] = np.nonzero(steps >= 0)
    step_entries = np.full((step_chunks.sum(), unroll, steps.shape[1]), -1, np.int32)
    first = np.cumsum(step_chunks) - step_chunks
    step_entries[first[step[rows]] + place // unroll, place % unroll, slot[rows]] = entries
    return step_entries, step_chunks


def is_worth_it(terms: Terms) -> bool:
    """Whether lists take less time than a dense matrix: many bits, most of them not coupled."""
    degrees = np.bincount(np.concatenate([terms.rows, terms.columns]), minlength=terms.size)
    width = list_width(degrees)
    lists = terms.size + int(np.maximum(-(-degrees // width) - 1, 0).sum())
    return terms.size > 128 and 5 * width * lists <= terms.size**2


def check_dense_size(size: int, dtype: jnp.dtype) -> None:
    """Raises `ValueError` where a dense [size, size] matrix would take more than 2 GiB."""
    itemsize = jnp.dtype(dtype).itemsize
    if size * size * itemsize > _MAX_DENSE_BYTES:
        raise ValueError(
            f"a dense matrix of {size} x {size} entries of {itemsize} bytes takes {size * size * itemsize / 2**30:.1f} "
            f"GiB, above the limit of {_MAX_DENSE_BYTES / 2**30:.0f} GiB; use a solver that takes sparse problems, or "
            "a problem of fewer couplings"
        )


@jax.custom_vjp
def _product(neighbors, weights, owners, x):
    return _batched_product(neighbors, weights, owners, x)


def _product_forward(neighbors, weights, owners, x):
    return _batched_product(neighbors, weights, owners, x), (neighbors, weights, owners, x)


def _product_backward(saved, cotangent):
    neighbors, weights, owners, x = saved
    of_lists = jnp.concatenate([cotangent, cotangent[owners]])
    d_weights = jnp.where(weights == 0, 0, of_lists[None] * x[neighbors])
    return None, d_weights, None, _batched_product(neighbors, weights, owners, cotangent)


_product.defvjp(_product_forward, _product_backward)


@jax.custom_batching.custom_vmap
def _batched_product(neighbors, weights, owners, x):
    return _gather_products(neighbors, weights, owners, x[:, None])[:, 0]


@_batched_product.def_vmap
def _batched_product_rule(axis_size, in_batched, neighbors, weights, owners, x):
    del axis_size
    if in_batched == [False, False, False, True]:
        # Several states of one problem: whole rows of x are read, which vectorises where single entries do not.
        rows = in_row_order(x.T)
        return in_row_order(_gather_products(neighbors, weights, owners, rows)).T, True
    axes = [0 if batched else None for batched in in_batched]
    single = functools.partial(jax.vmap, in_axes=axes)
    return single(lambda neighbors, weights, owners, x: _gather_products(neighbors, weights, owners, x[:, None])[:, 0])(
        neighbors, weights, owners, x
    ), True


def _gather_products(
    neighbors: Int[Array, "width lists"],
    weights: Float[Array, "width lists"],
    owners: Int[Array, "extra"],
    x: Float[Array, "n states"],
) -> Float[Array, "rows states"]:
    """`Σ_k weights[k, i] x[neighbors[k, i]]` of each list, summed over the lists of a row."""
    width, lists = neighbors.shape
    loops = -(-width // _UNROLL)

    def add(total, entries):
        neighbors, weights = entries
        for k in range(width // loops):
            total = total + weights[k][:, None] * x.at[neighbors[k]].get(mode="promise_in_bounds")
        return total, None

    entries = tuple(array.reshape(loops, width // loops, lists) for array in (neighbors, weights))
    total, _ = add(jnp.zeros_like(weights, shape=(lists, 1)), jax.tree.map(lambda array: array[0], entries))
    if loops > 1:
        total, _ = jax.lax.scan(add, total, jax.tree.map(lambda array: array[1:], entries))
    return _of_rows(total, owners)


def _of_rows(of_lists: Float[Array, "lists ..."], owners: Int[Array, "extra"]) -> Float[Array, "n ..."]:
    if owners.size == 0:
        return of_lists
    rows = of_lists.shape[0] - owners.size
    return of_lists[:rows].at[owners].add(of_lists[rows:])
