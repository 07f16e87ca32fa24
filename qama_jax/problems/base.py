"""What a solver sees of a problem: its fields, its energy, its moves."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int8, Num

from qama_jax.batching import constant_like
from qama_jax.problems.spectrum import lowest_eigenvalue

_Class = TypeVar("_Class", bound=type)

Bits = Int8[Array, "..."]


def register_pytree(cls: _Class) -> _Class:
    """Registers a dataclass as a pytree whose fields are all leaves.

    Unlike `jax.tree_util.register_dataclass`, rebuilding an instance does not run `__post_init__`. Validation
    therefore happens once, where a user constructs the object, and never on the placeholders, batched or
    abstract values that JAX puts into the leaves.
    """
    names = tuple(field.name for field in dataclasses.fields(cls))

    def flatten_with_keys(instance: Any):
        return tuple((jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in names), None

    def unflatten(_: None, children: Any) -> Any:
        instance = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(instance, name, child)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten)
    return cls


class Problem(abc.ABC):
    """A quadratic energy over bits `x` in {0, 1}, to be minimised:

        E(x) = offset - Σ_i b_i x_i - ½ Σ_{i≠j} C_ij x_i x_j,    C symmetric

    Subclasses are pytrees without a batch axis (`jax.vmap` gives batches). They have `linear` (b) and define `shape`,
    `energy`, `couple` (the product C x), `as_matrix`, `coupling_scale` and `flip_energy_range`; everything else
    follows. Those with an `offset` define `relative_energy` besides. `couple` and `field` also take relaxed bits, any
    real numbers, which is what the continuous solvers move; energies and moves are those of states of 0 and 1, and
    other values are refused where they are known.
    """

    linear: Float[Array, "..."]
    offset: Any = 0.0

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the bits of one state."""

    @property
    def dtype(self) -> jnp.dtype:
        """Floating-point type of fields and energies."""
        return self.linear.dtype

    @abc.abstractmethod
    def couple(self, bits: Num[Array, "..."]) -> Float[Array, "..."]:
        """The product C x, of shape `shape`."""

    def couple_roughly(self, x: Num[Array, "..."]) -> Float[Array, "..."]:
        """`couple` as the device multiplies fastest, on TPUs of factors rounded to bfloat16.

        It serves dynamics, which go on with what they reach; fields and energies are never computed by it.
        """
        return self.couple(x)

    def coupling_sums(self) -> Float[Array, "..."]:
        """`C 1`, the sum of the couplings of each bit: fields at x = ½ are `b + C 1 / 2`."""
        return self.couple(constant_like(self.linear, 1))

    @abc.abstractmethod
    def as_matrix(self) -> Float[Array, "n n"]:
        """C over the bits in a row (`bits.reshape(-1)`)."""

    @abc.abstractmethod
    def coupling_scale(self) -> Float[Array, ""]:
        """Root mean square, over the bits that are coupled at all, of the norm of a row of C: the spread of fields."""

    @abc.abstractmethod
    def energy(self, bits: Num[Array, "..."]) -> Float[Array, ""]:
        """Energy of one state."""

    def relative_energy(self, bits: Num[Array, "..."]) -> Float[Array, ""]:
        """The energy without the offset, `E(x) - offset`: what states are compared by.

        A large offset rounds away what distinguishes them, so that it is added last, to what is reported.
        """
        return self.energy(bits) - self.offset

    @abc.abstractmethod
    def flip_energy_range(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Smallest and largest energy change that one flip is likely to make: the scales of an annealing schedule.

        The largest is a bound over all states. The smallest is that of one coupling or field alone, but not less than
        the scale of the smallest of n fields in a low-energy state, as the smallest of many real numbers says nothing:
        `coupling_scale / √n` for bits that are alike. Penalties make bits and couplings unlike, and then it is less:
        r² / (coupling_scale √n) with the smallest norm r of a row, which is the coupling of the two lightest bits where
        couplings are products; and the harmonic mean of the couplings, where an objective is weaker than penalties.
        """

    def lowest_eigenvalue(self) -> Float[Array, ""]:
        """Estimate of the lowest eigenvalue of C, which bounds the step of explicit dynamics; at most 0."""
        return lowest_eigenvalue(self.couple, self.shape, self.dtype)

    def field(self, bits: Num[Array, "..."]) -> Float[Array, "..."]:
        """How much setting each bit lowers the energy: `f_i = E(x_i = 0) - E(x_i = 1) = b_i + (C x)_i`."""
        return self.linear + self.couple(bits)

    def flip_energy(self, bits: Num[Array, "..."]) -> Float[Array, "..."]:
        """Energy change of flipping each bit alone, `(2 x_i - 1) f_i`."""
        check_bits(bits, "bits")
        return (2 * bits.astype(self.dtype) - 1) * self.field(bits)

    def clamp(self, bits: Bits) -> Bits:
        """Sets to 0 the bits that the problem holds fixed, which `couple` and `energy` take for 0; by default none."""
        return bits

    def best_moves(
        self, bits: Num[Array, "..."], field: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """The best move of each unit of the problem, all others held: by default, of each bit its flip.

        Args:
          bits: the state.
          field: its field.

        Returns:
          The bits after each unit's best move, and how much each move alone lowers the energy, with a shape that
          broadcasts to the bits.
        """
        check_bits(bits, "bits")
        x = bits.astype(self.dtype)
        return 1 - x, (1 - 2 * x) * field


def as_float_array(value: Any, name: str) -> Float[Array, "..."]:
    """`value`, also a sparse one of SciPy, as a dense floating-point array; an error names the argument `name`.

    Integers and booleans become floats before they reach JAX, where large ones would wrap; half precision, in which
    sums of many terms are worth little, becomes float32.
    """
    if scipy.sparse.issparse(value):
        value = value.toarray()
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
        array = jnp.asarray(value)
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real, got {array.dtype}; pass its real part")
    else:
        host = np.asarray(value)
        if host.dtype.kind == "c":
            raise ValueError(f"{name} must be real, got {host.dtype}; pass its real part")
        if not jnp.issubdtype(host.dtype, jnp.floating):
            try:
                host = host.astype(np.float64) if host.dtype.kind in "biuO" else None
            except (TypeError, ValueError):
                host = None
            if host is None:
                raise ValueError(f"{name} must be an array of real numbers, got {type(value).__name__}")
        array = jnp.asarray(host)
    is_single = jnp.issubdtype(array.dtype, jnp.floating) and jnp.finfo(array.dtype).bits >= 32
    return array if is_single else array.astype(jnp.float32)


def is_concrete(array: Any) -> bool:
    """Whether there are values to look at, as there are none inside of a transformation, or not all on other hosts."""
    return not isinstance(array, jax.core.Tracer) and getattr(array, "is_fully_addressable", True)


def check_values(array: Any, allowed: Callable[[Any], Any], rule: str, remedy: str) -> None:
    """Raises `ValueError` for values that are not allowed; under a transformation, none are known."""
    if not is_concrete(array):
        return
    values = np.asarray(array)
    if not np.all(allowed(values)):
        raise ValueError(f"{rule}, got {values[~allowed(values)].flat[0]}; {remedy}")


def check_bits(bits: Any, name: str) -> None:
    """Raises `ValueError` where known values are not 0 or 1, of whatever type; under a transformation, none are."""
    check_values(bits, lambda x: (x == 0) | (x == 1), f"{name} must be 0 or 1", "from spins, pass (1 + spins) // 2")
