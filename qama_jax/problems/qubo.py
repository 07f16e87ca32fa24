"""Dense QUBO and Ising problems, and the exact conversions between them."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from qama_jax.problems.base import Problem, as_float_array, register_pytree


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Qubo(Problem):
    """Quadratic unconstrained binary optimisation: minimise `xᵀ matrix x + offset` over bits x in {0, 1}.

    Args:
      matrix: real `[n, n]`, triangular or symmetric; kept as its symmetric part, which has the same energies.
      offset: constant added to every energy.

    Raises:
      ValueError: if `matrix` is not square, or `offset` is not a scalar.

    Example:
      >>> import jax, qama_jax
      >>> qubo = qama_jax.Qubo([[-1.0, 2.0], [0.0, -1.0]])
      >>> solution = qama_jax.solve(jax.random.key(0), qubo, qama_jax.Exhaustive())
      >>> float(solution.energy)
      -1.0
    """

    matrix: Float[Array, "n n"]
    offset: Float[Array, ""] | float = 0.0

    def __post_init__(self):
        matrix = as_float_array(self.matrix, "matrix")
        _check_square(matrix, "matrix")
        object.__setattr__(self, "matrix", (matrix + matrix.T) / 2)
        object.__setattr__(self, "offset", _scalar(self.offset, "offset", matrix.dtype))

    @property
    def shape(self) -> tuple[int]:
        return _size(self.matrix)

    @property
    def linear(self) -> Float[Array, "n"]:
        return -jnp.diagonal(self.matrix)

    def couple(self, bits: Num[Array, "n"]) -> Float[Array, "n"]:
        x = bits.astype(self.matrix.dtype)
        return 2 * (jnp.diagonal(self.matrix) * x - _product(x, self.matrix))

    def coupling_scale(self) -> Float[Array, ""]:
        return _row_norm(2 * _without_diagonal(self.matrix))

    def energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        x = bits.astype(self.matrix.dtype)
        return jnp.sum(_product(x, self.matrix) * x) + self.offset

    def to_ising(self) -> "Ising":
        """The same problem over spins σ = 2x - 1, equation (11): equal energies, state by state."""
        couplings = _without_diagonal(self.matrix) / -2
        fields = -jnp.diagonal(self.matrix) / 2 + jnp.sum(couplings, axis=1)
        offset = self.offset + jnp.trace(self.matrix) / 2 - jnp.sum(couplings) / 2
        return Ising(couplings, fields, offset)


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Ising(Problem):
    """An Ising problem: minimise `-½ σᵀ couplings σ - fieldsᵀ σ + offset` over spins σ in {-1, +1}.

    The signs are those of the paper's equation (1): positive couplings align spins, positive fields turn
    them up. Every method takes bits x, as for all problems; the spins are `σ = 2x - 1`.

    Args:
      couplings: real `[n, n]`, symmetric; its diagonal is a constant and is ignored.
      fields: real `[n]`, zero by default.
      offset: constant added to every energy.

    Raises:
      ValueError: if `couplings` is not square, or the other shapes do not fit it.
    """

    couplings: Float[Array, "n n"]
    fields: Float[Array, "n"] | None = None
    offset: Float[Array, ""] | float = 0.0

    def __post_init__(self):
        couplings = as_float_array(self.couplings, "couplings")
        _check_square(couplings, "couplings")
        n = couplings.shape[0]
        fields = jnp.zeros(n, couplings.dtype) if self.fields is None else as_float_array(self.fields, "fields")
        if fields.shape != (n,):
            raise ValueError(f"fields must have shape ({n},) to fit couplings {couplings.shape}, got {fields.shape}")
        object.__setattr__(self, "couplings", _without_diagonal(couplings + couplings.T) / 2)
        object.__setattr__(self, "fields", fields.astype(couplings.dtype))
        object.__setattr__(self, "offset", _scalar(self.offset, "offset", couplings.dtype))

    @property
    def shape(self) -> tuple[int]:
        return _size(self.couplings)

    @property
    def linear(self) -> Float[Array, "n"]:
        return 2 * self.fields - 2 * jnp.sum(self.couplings, axis=1)

    def couple(self, bits: Num[Array, "n"]) -> Float[Array, "n"]:
        return 4 * _product(bits.astype(self.couplings.dtype), self.couplings)

    def coupling_scale(self) -> Float[Array, ""]:
        return _row_norm(4 * self.couplings)

    def energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        spins = 2 * bits.astype(self.couplings.dtype) - 1
        return -jnp.sum((_product(spins, self.couplings) / 2 + self.fields) * spins) + self.offset

    def to_qubo(self) -> Qubo:
        """The same problem over bits x = (1 + σ)/2, equation (11): equal energies, state by state."""
        matrix = -2 * self.couplings - jnp.diag(self.linear)
        offset = self.offset + jnp.sum(self.fields) - jnp.sum(self.couplings) / 2
        return Qubo(matrix, offset)


def _product(x: Float[Array, "n"], matrix: Float[Array, "n n"]) -> Float[Array, "n"]:
    return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)


def _without_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


def _row_norm(couplings: Float[Array, "n n"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(couplings**2) / couplings.shape[0])


def _size(matrix: Float[Array, "n n"]) -> tuple[int]:
    _check_square(matrix, "the problem's matrix")
    return (matrix.shape[0],)


def _check_square(matrix: Float[Array, "n n"], name: str) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(
            f"{name} must be square, [n, n] with n >= 1, got shape {matrix.shape}; "
            "for a batch of problems, jax.vmap over the leading axis"
        )


def _scalar(value: Float[Array, ""] | float, name: str, dtype: jnp.dtype) -> Float[Array, ""]:
    scalar = as_float_array(value, name)
    if scalar.shape != ():
        raise ValueError(f"{name} must be a scalar, got shape {scalar.shape}")
    return scalar.astype(dtype)
