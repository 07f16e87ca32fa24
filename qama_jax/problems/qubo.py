"""Dense QUBO and Ising problems, and the exact conversions between them."""

import dataclasses
import math
from collections.abc import Hashable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from qama_jax.problems.base import Problem, as_float_array, register_pytree
from qama_jax.problems.blocks import Blocks, dense_blocks
from qama_jax.problems.sweeps import Sweeper, dense_sweeper

if TYPE_CHECKING:
    import dimod


# Outlying eigenvalues, which are those that matter, converge fastest; a bulk edge is met to a few percent.
_POWER_ITERATIONS = 10


class _Dense(Problem):
    """What Qubo and Ising share: couplings C as a matrix."""

    def couplings_of_bits(self) -> Float[Array, "n n"]:
        """C of `Problem`."""
        raise NotImplementedError

    def coupling_scale(self) -> Float[Array, ""]:
        couplings = self.couplings_of_bits()
        return jnp.sqrt(jnp.sum(couplings**2) / couplings.shape[0])

    def lowest_eigenvalue(self) -> Float[Array, ""]:
        """By power iteration, first for the largest eigenvalue in magnitude, then shifted by it."""
        couplings = self.couplings_of_bits()

        def iterate(shift):
            def step(_, vector):
                vector = shift * vector - _product(vector, couplings)
                return vector / jnp.maximum(jnp.linalg.norm(vector), jnp.finfo(self.dtype).tiny)

            # The zeros vary as the couplings do under `jax.shard_map`.
            start = jax.random.normal(jax.random.key(0), self.shape, self.dtype) + jnp.zeros_like(couplings[0])
            vector = jax.lax.fori_loop(0, _POWER_ITERATIONS, step, start / jnp.linalg.norm(start))
            return vector, _product(vector, couplings)

        _, product = iterate(jnp.zeros((), self.dtype))
        vector, product = iterate(jnp.linalg.norm(product))
        return jnp.minimum(jnp.sum(vector * product), 0)

    def flip_energy_range(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        couplings = jnp.abs(self.couplings_of_bits()) / 2
        centre = jnp.abs(self.field(jnp.full(self.shape, 0.5, self.dtype)))
        terms = jnp.concatenate([couplings, centre[None]])
        smallest = jnp.min(jnp.where(terms > 0, terms, jnp.inf))
        floor = self.coupling_scale() / math.sqrt(centre.size)
        return jnp.maximum(jnp.where(jnp.isinf(smallest), 0, smallest), floor), jnp.max(jnp.sum(terms, axis=0))

    def sweeper(self) -> Sweeper:
        return dense_sweeper(self.couplings_of_bits(), self.linear)

    def blocks(self) -> Blocks:
        return dense_blocks(self.couplings_of_bits(), self.linear)


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Qubo(_Dense):
    """Quadratic unconstrained binary optimisation: minimise `xᵀ matrix x + offset` over bits x in {0, 1}.

    Args:
      matrix: real `[n, n]`, triangular or symmetric, of JAX, NumPy or SciPy (sparse); kept dense, as its symmetric
        part, which has the same energies.
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

    def couplings_of_bits(self) -> Float[Array, "n n"]:
        return -2 * _without_diagonal(self.matrix)

    def energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        x = bits.astype(self.matrix.dtype)
        return jnp.sum(_product(x, self.matrix) * x) + self.offset

    def to_ising(self) -> "Ising":
        """The same problem over spins σ = 2x - 1, equation (11): equal energies, state by state."""
        couplings = _without_diagonal(self.matrix) / -2
        fields = -jnp.diagonal(self.matrix) / 2 + jnp.sum(couplings, axis=1)
        offset = self.offset + jnp.trace(self.matrix) / 2 - jnp.sum(couplings) / 2
        return Ising(couplings, fields, offset)

    @classmethod
    def from_bqm(cls, bqm: "dimod.BinaryQuadraticModel") -> "Qubo":
        """A dimod model as a `Qubo`: equal energies, state by state.

        Args:
          bqm: model of either vartype with at least one variable. Bit i is the variable `bqm.variables[i]`, a bit
            of 1 a spin of +1.

        Returns:
          The problem in float32, or in float64 where `jax_enable_x64` is set; the conversion itself is in float64.

        Raises:
          ImportError: if dimod is not installed.
          ValueError: if `bqm` is no binary quadratic model, or has no variables.

        Example:
          >>> import dimod, qama_jax
          >>> bqm = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): -2.0}, 0.0, "SPIN")
          >>> qubo = qama_jax.Qubo.from_bqm(bqm)
          >>> float(qubo.energy(jax.numpy.array([0, 0])))
          -3.0
        """
        dimod = _import_dimod()
        if not isinstance(bqm, dimod.BinaryQuadraticModel):
            raise ValueError(
                f"bqm must be a dimod.BinaryQuadraticModel, got {type(bqm).__name__}; "
                "wrap a matrix as qama_jax.Qubo(matrix)"
            )
        n = bqm.num_variables
        if n == 0:
            raise ValueError("bqm must have at least one variable, got none; add one, or take its offset as the energy")
        binary = dimod.BinaryQuadraticModel(bqm, dtype=np.float64).change_vartype("BINARY", inplace=False)
        linear, (rows, columns, quadratic), offset = binary.to_numpy_vectors(variable_order=bqm.variables)
        matrix = np.diag(linear)
        matrix[rows, columns] = quadratic
        return cls(matrix, offset)

    def to_bqm(self, labels: Iterable[Hashable] | None = None) -> "dimod.BinaryQuadraticModel":
        """The same problem as a dimod model of vartype BINARY, in float64: equal energies, state by state.

        Args:
          labels: the variables' names, one for each bit; 0 to n - 1 by default.

        Raises:
          ImportError: if dimod is not installed.
          ValueError: if `labels` are not n different ones.
        """
        dimod = _import_dimod()
        (n,) = self.shape
        labels = list(range(n) if labels is None else labels)
        if len(labels) != n or len(set(labels)) != n:
            raise ValueError(
                f"labels must be {n} different ones, got {len(labels)} with {len(set(labels))} different; "
                "pass one for each bit"
            )
        matrix = np.asarray(self.matrix, np.float64)
        rows, columns = np.nonzero(np.triu(matrix, 1))
        quadratic = rows, columns, 2 * matrix[rows, columns]
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            np.diag(matrix), quadratic, float(self.offset), "BINARY", variable_order=labels
        )


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Ising(_Dense):
    """An Ising problem: minimise `-½ σᵀ couplings σ - fieldsᵀ σ + offset` over spins σ in {-1, +1}.

    The signs are those of the paper's equation (1): positive couplings align spins, positive fields turn
    them up. Every method takes bits x, as for all problems; the spins are `σ = 2x - 1`.

    Args:
      couplings: real `[n, n]`, symmetric, of JAX, NumPy or SciPy (sparse); its diagonal is a constant and is ignored.
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

    def couplings_of_bits(self) -> Float[Array, "n n"]:
        return 4 * self.couplings

    def energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        spins = 2 * bits.astype(self.couplings.dtype) - 1
        return -jnp.sum((_product(spins, self.couplings) / 2 + self.fields) * spins) + self.offset

    def to_qubo(self) -> Qubo:
        """The same problem over bits x = (1 + σ)/2, equation (11): equal energies, state by state."""
        matrix = -2 * self.couplings - jnp.diag(self.linear)
        offset = self.offset + jnp.sum(self.fields) - jnp.sum(self.couplings) / 2
        return Qubo(matrix, offset)


def _import_dimod() -> ModuleType:
    try:
        import dimod
    except ImportError as error:
        raise ImportError("conversions from and to dimod need dimod: pip install 'qama-jax[dimod]'") from error
    return dimod


def _product(x: Float[Array, "n"], matrix: Float[Array, "n n"]) -> Float[Array, "n"]:
    return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)


def _without_diagonal(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


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
