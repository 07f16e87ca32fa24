"""What Qubo and Ising share: a matrix, dense or sparse, and the host's own values of it."""

import dataclasses
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int8, Num
from numpy.typing import ArrayLike

from qama_jax.problems.base import Problem, check_bits
from qama_jax.problems.bqm import import_dimod, terms_of_bqm
from qama_jax.problems.couplings import Couplings
from qama_jax.problems.dense import DenseCouplings
from qama_jax.problems.inputs import check_range, check_square
from qama_jax.problems.sparse import SparseCouplings, check_dense_size, is_worth_it
from qama_jax.problems.terms import Terms, holds

if TYPE_CHECKING:
    import dimod

SparseMatrix = scipy.sparse.sparray | scipy.sparse.spmatrix | SparseCouplings  # as users pass it


class FixedProblem(NamedTuple):
    """A problem of which some bits are held fixed.

    Attributes:
      problem: over the free bits.
      bits: int8 [n], the fixed ones; 0 where they are free.
      free: [k], the indices of the free ones.
    """

    problem: "Quadratic"
    bits: np.ndarray
    free: np.ndarray

    def expand(self, bits: ArrayLike) -> Int8[Array, "*reads n"]:
        """All bits, from the free ones [*reads, k]; usable under `jax.jit` and `jax.vmap`."""
        own = jnp.asarray(bits)
        check_bits(own, "bits")
        own = own.astype(jnp.int8)
        everywhere = jnp.broadcast_to(jnp.asarray(self.bits), (*own.shape[:-1], self.bits.size))
        return everywhere.at[..., self.free].set(own)


class Quadratic(Problem):
    """A problem with couplings C that are `_factor` times the entries of a matrix off the diagonal.

    Subclasses are dataclasses of the matrix, what else there is, and the offset. They define `linear`, `couple` and
    `relative_energy` of `Problem`, and the three hooks at the end of this class.
    """

    offset: Float[Array, ""] | float  # pyright: ignore[reportIncompatibleVariableOverride]  # problems are frozen

    _factor: ClassVar[float]
    _spins: ClassVar[bool]

    # The kinds of problems by whether their variables are spins, so that either converts to the other.
    _kinds: ClassVar[dict[bool, type["Quadratic"]]] = {}

    # The host's values, where float arrays hold them only rounded: not part of the pytree.
    _host: Any = None

    def __init_subclass__(cls) -> None:
        Quadratic._kinds.setdefault(cls._spins, cls)  # and not one derived from it

    @property
    def is_sparse(self) -> bool:
        """Whether couplings are kept as lists of neighbours."""
        return isinstance(self._couplings, SparseCouplings)

    @property
    def dtype(self) -> jnp.dtype:
        return self._couplings.dtype

    @property
    def shape(self) -> tuple[int]:
        check_square(self._couplings, "the problem's matrix")
        return (self._couplings.shape[0],)

    def energy(self, bits: Num[Array, "n"]) -> Float[Array, ""]:
        check_bits(bits, "bits")
        return self.relative_energy(bits) + self.offset

    def as_matrix(self) -> Float[Array, "n n"]:
        """See `Problem`.

        Raises:
          ValueError: where it would take more than 2 GiB, and the problem is sparse.
        """
        return self._factor * DenseCouplings(self._couplings.to_dense()).entries

    def as_sparse(self) -> SparseCouplings:
        """C of `Problem` as lists of neighbours.

        Raises:
          TypeError: where couplings are kept dense.
        """
        couplings = self._couplings
        if not isinstance(couplings, SparseCouplings):
            raise TypeError("the couplings are dense; see as_matrix")
        return couplings.scaled(self._factor, jnp.zeros_like(couplings.diagonal))

    def coupling_scale(self) -> Float[Array, ""]:
        strongest, squares = self._squared_rows()
        return strongest * jnp.sqrt(_mean_positive(squares))

    def _squared_rows(self) -> tuple[Float[Array, ""], Float[Array, "n"]]:
        """The strongest coupling, and the squared norm of each row of C over its square, which does not overflow."""
        entries = self._couplings.entries
        strongest = jnp.max(jnp.abs(entries))
        squares = (entries / jnp.where(strongest > 0, strongest, 1)) ** 2
        return abs(self._factor) * strongest, self._couplings.row_sums(squares)

    def flip_energy_range(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        centre = jnp.abs(self.field(jnp.full(self.shape, 0.5, self.dtype)))
        couplings = jnp.abs(self._factor * self._couplings.entries) / 2
        smallest = jnp.minimum(_smallest_positive(couplings), _smallest_positive(centre))
        floor = self._smallest_field(couplings)
        largest = jnp.max(self._couplings.row_sums(couplings) + centre)
        return jnp.maximum(jnp.where(jnp.isinf(smallest), 0, smallest), floor), largest

    def _smallest_field(self, couplings: Float[Array, "..."]) -> Float[Array, ""]:
        """See `Problem.flip_energy_range`; `couplings` are half of those of bits, in magnitude."""
        strongest, squares = self._squared_rows()
        mean, lightest = _mean_positive(squares), jnp.min(jnp.where(squares > 0, squares, jnp.max(squares)))
        of_lightest = strongest * lightest / jnp.sqrt(jnp.where(mean > 0, mean, 1) * squares.size)
        inverse = jnp.where(couplings > 0, strongest / jnp.where(couplings > 0, couplings, 1), 0)
        harmonic = strongest / jnp.where(strongest > 0, _mean_positive(inverse), 1)
        return jnp.minimum(of_lightest, harmonic)

    def terms(self) -> Terms:
        """The energy term by term, on the host: with the numbers that the problem was made from, before rounding.

        A problem that comes out of a JAX transformation has the numbers of its arrays.
        """
        if isinstance(self._host, Terms):
            return self._host
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))  # pyright: ignore[reportArgumentType]
        return self._terms_of(tuple(fields) if self._host is None else self._host)

    @property
    def is_rounded(self) -> bool:
        """Whether float arrays hold the numbers of `terms` only rounded, the offset aside."""
        if self._host is None:
            return False
        own = self._own_terms(self.terms())
        return not all(holds(self.dtype, numbers) for numbers in (own.linear, own.values))

    def exact_energy(self, bits: ArrayLike) -> int | float | np.ndarray:
        """Energy of one state, or energies of several, on the host, as `terms` has the problem.

        Args:
          bits: [n], or [reads, n] for several.

        Returns:
          For one state a Python number, else an array [reads]. Integers, of any size, where all coefficients are
          multiples of 1/4 and the energies whole; else float64.

        Raises:
          ValueError: if `bits` is of another shape, or of other values than 0 and 1.
        """
        states = np.asarray(bits)
        if states.ndim not in (1, 2) or states.shape[-1] != self.shape[0]:
            raise ValueError(f"bits must be [{self.shape[0]}] or [reads, {self.shape[0]}], got shape {states.shape}")
        energies = self.terms().energies(np.atleast_2d(states))
        return energies.tolist()[0] if states.ndim == 1 else energies

    def fix(self, bits: ArrayLike, mask: ArrayLike) -> FixedProblem:
        """Holds some bits fixed: the problem of the others, of equal energies, and the way back.

        Runs on the host: which bits are fixed is known when a program is compiled, as is the smaller shape.

        Args:
          bits: [n]; those that the mask leaves free do not matter.
          mask: bool [n], true for the bits to fix.

        Returns:
          A `FixedProblem`: `problem` over the free bits, in their order, and `expand`, which gives all bits.

        Raises:
          ValueError: if a shape or type does not fit, or no bit is left free.

        Example:
          >>> import jax, qama_jax
          >>> qubo = qama_jax.Qubo([[1.0, -3.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, -1.0]])
          >>> fixed = qubo.fix([1, 0, 0], mask=[True, False, False])
          >>> solution = qama_jax.solve(jax.random.key(0), fixed.problem, qama_jax.Exhaustive())
          >>> fixed.expand(solution.bits).tolist(), float(solution.energy)
          ([1, 1, 0], -1.0)
        """
        values, mask = np.asarray(bits), np.asarray(mask)
        if values.shape != self.shape or mask.shape != self.shape or mask.dtype != bool:
            raise ValueError(
                f"bits and the boolean mask must have shape {self.shape}, got {values.shape}, and {mask.shape} of "
                f"{mask.dtype}"
            )
        check_bits(values[mask], "bits")
        if mask.all():
            raise ValueError("mask must leave a bit free; for the energy of a whole state, use exact_energy")
        values = np.where(mask, values, 0).astype(np.int8)
        reduced = self.terms().fixed(values.astype(np.int64), mask)
        return FixedProblem(type(self).from_terms(reduced), values, np.flatnonzero(~mask))

    def to_bqm(self, labels: Iterable[Hashable] | None = None) -> "dimod.BinaryQuadraticModel":
        """The same problem as a dimod model in float64: equal energies, state by state; of vartype SPIN for `Ising`.

        Args:
          labels: the variables' names, one for each bit; 0 to n - 1 by default.

        Raises:
          ImportError: if dimod is not installed.
          ValueError: if `labels` are not n different ones.
        """
        dimod = import_dimod()
        (n,) = self.shape
        labels = list(range(n) if labels is None else labels)
        if len(labels) != n or len(set(labels)) != n:
            raise ValueError(
                f"labels must be {n} different ones, got {len(labels)} with {len(set(labels))} different; "
                "pass one for each bit"
            )
        terms = self._own_terms(self.terms())
        quadratic = terms.rows, terms.columns, terms.values.astype(np.float64)
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            terms.linear.astype(np.float64),
            quadratic,
            float(terms.offset),
            "SPIN" if self._spins else "BINARY",
            variable_order=labels,
        )

    @classmethod
    def from_terms(cls, terms: Terms, *, is_sparse: bool | None = None) -> Self:
        """A problem from terms of either kind of variables, sparse or dense; by default whichever is faster."""
        exact = cls._own_terms(terms)
        numbers = {name: getattr(exact, name).astype(np.float64) for name in ("linear", "values")}
        own = dataclasses.replace(exact, offset=float(exact.offset), **numbers)
        dtype = jnp.result_type(float)
        check_range({"the problem": np.concatenate([own.linear, own.values]), "the offset": own.offset}, dtype)
        kind = SparseCouplings if (is_worth_it(own) if is_sparse is None else is_sparse) else DenseCouplings
        if kind is DenseCouplings:
            check_dense_size(own.size, dtype)
        problem = cls._from_own_terms(own, kind, dtype)
        object.__setattr__(problem, "_host", terms)
        return problem

    @classmethod
    def from_bqm(cls, bqm: "dimod.BinaryQuadraticModel") -> Self:
        """A dimod model as a problem: equal energies, state by state.

        Args:
          bqm: model of either vartype with at least one variable. Bit i is the variable `bqm.variables[i]`, a bit
            of 1 a spin of +1.

        Returns:
          The problem in float32, or in float64 where `jax_enable_x64` is set; the conversion itself is in float64.

        Raises:
          ImportError: if dimod is not installed.
          ValueError: if `bqm` is no binary quadratic model, has no variables, or a bias that is not finite.

        Example:
          >>> import dimod, jax, qama_jax
          >>> bqm = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): -2.0}, 0.0, "SPIN")
          >>> qubo = qama_jax.Qubo.from_bqm(bqm)
          >>> float(qubo.energy(jax.numpy.array([0, 0])))
          -3.0
        """
        return cls.from_terms(terms_of_bqm(bqm))

    @classmethod
    def _own_terms(cls, terms: Terms) -> Terms:
        return terms.to_spins() if cls._spins else terms.to_bits()

    def _converted(self, *fields: Any) -> Any:
        """The problem of the other kind that has these fields, and the host's numbers of this one."""
        return self._with_host_of(self, self._kinds[not self._spins](*fields))

    @staticmethod
    def _with_host_of(source: "Quadratic", problem: Any) -> Any:
        """A problem of equal energies, that remembers the host's numbers of its source."""
        if source._host is not None:
            object.__setattr__(problem, "_host", source.terms())
        return problem

    @property
    def _couplings(self) -> Couplings:
        """Its matrix."""
        raise NotImplementedError

    @classmethod
    def _from_own_terms(cls, terms: Terms, kind: type[Couplings], dtype: jnp.dtype) -> Self:
        """The problem of terms in its own variables and in float64, with couplings of this kind."""
        raise NotImplementedError

    @staticmethod
    def _terms_of(fields: tuple[Any, ...]) -> Terms:
        """The terms of the fields of the dataclass, arrays of JAX or the host's numbers."""
        raise NotImplementedError


def become(problem: Quadratic, terms: Terms) -> None:
    """Gives a problem that is being constructed the fields of the one that the terms make."""
    made = type(problem).from_terms(terms)
    for name, value in vars(made).items():
        object.__setattr__(problem, name, value)


def _smallest_positive(values: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.min(jnp.where(values > 0, values, jnp.inf))


def _mean_positive(values: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sum(values) / jnp.maximum(jnp.sum(values > 0, dtype=values.dtype), 1)
