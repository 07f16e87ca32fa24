"""Quadratic energies on the host, term by term: what files and models hold, and what exact energies come from."""

import dataclasses
import functools
from typing import Any

import numpy as np

from qama_jax.problems.base import check_bits

# Integers whose absolute values sum to less than this neither overflow in int64, nor do their sums.
_SAFE = 2**62


@dataclasses.dataclass(frozen=True, eq=False)
class Terms:
    """The energy `Σ_i linear_i v_i + Σ_k values_k v_rows_k v_columns_k + offset` of variables v, in NumPy.

    Coefficients are int64, Python integers (dtype object) where int64 could overflow, or float64.

    Attributes:
      linear: [n].
      rows: [m], smaller index of each pair; each pair is there once, in order, and no value is 0.
      columns: [m], the larger index.
      values: [m].
      offset: a Python number.
      spins: whether variables are -1 and +1, not 0 and 1.
    """

    linear: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    offset: int | float
    spins: bool

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.linear)

    def energies(self, bits: np.ndarray) -> np.ndarray:
        """Energies of bits [reads, n], also where variables are spins.

        Exact where every coefficient is a multiple of 1/4, and then integers if all energies are whole: int64, or
        Python integers where those could overflow. Otherwise summed in float64.
        """
        check_bits(bits, "bits")
        bits = np.asarray(bits).astype(np.int64)
        linear, values, offset = self.linear, self.values, self.offset
        quarters = self.quarters
        if quarters is not None:
            linear, values, (offset,) = np.split(quarters, [self.size, len(quarters) - 1])
        energies = np.zeros(len(bits), np.float64 if quarters is None else quarters.dtype)
        for index, variables in enumerate(2 * bits - 1 if self.spins else bits):
            pairs = variables[self.rows] * variables[self.columns]
            energies[index] = np.sum(linear * variables) + np.sum(values * pairs) + offset
        if quarters is None:
            return energies
        return energies // 4 if np.all(energies % 4 == 0) else energies.astype(np.float64) / 4

    @functools.cached_property
    def quarters(self) -> np.ndarray | None:
        """Linear terms, values and offset in quarters, as integers; None where one is no multiple of 1/4."""
        return _as_integers(np.concatenate([4 * self.linear, 4 * self.values, np.array([4 * self.offset])]))

    def to_bits(self) -> "Terms":
        """The same energies over bits x, spins being `2x - 1`."""
        if not self.spins:
            return self
        linear = 2 * self.linear - 2 * self._row_sums()
        offset = self.offset - _total(self.linear) + _total(self.values)
        return Terms(linear, self.rows, self.columns, 4 * self.values, offset, spins=False)

    def to_spins(self) -> "Terms":
        """The same energies over spins, bits being `(1 + σ)/2`."""
        if self.spins:
            return self
        linear = self.linear / 2 + self._row_sums() / 4
        offset = self.offset + _total(self.linear) / 2 + _total(self.values) / 4
        return Terms(linear, self.rows, self.columns, self.values / 4, offset, spins=True)

    def negated(self) -> "Terms":
        """The terms of minus the energy."""
        return dataclasses.replace(self, linear=-self.linear, values=-self.values, offset=-self.offset)

    def fixed(self, bits: np.ndarray, mask: np.ndarray) -> "Terms":
        """The energy as a function of the variables outside `mask`, those inside having the values of `bits`."""
        known = np.where(mask, 2 * bits - 1 if self.spins else bits, 0)
        places = np.cumsum(~mask) - 1
        row_known, column_known = mask[self.rows], mask[self.columns]
        linear = self.linear.copy()
        np.add.at(linear, self.rows, self.values * known[self.columns])
        np.add.at(linear, self.columns, self.values * known[self.rows])
        offset = (
            self.offset + _total(self.linear * known) + _total(self.values * known[self.rows] * known[self.columns])
        )
        free = ~row_known & ~column_known
        rows, columns = places[self.rows[free]], places[self.columns[free]]
        return Terms(linear[~mask], rows, columns, self.values[free], offset, self.spins)

    def padded(self, size: int) -> "Terms":
        """The same terms with more variables at the end, which no term has."""
        return dataclasses.replace(self, linear=np.pad(self.linear, (0, size - self.size)))

    def _row_sums(self) -> np.ndarray:
        sums = np.zeros(self.size, self.values.dtype)
        np.add.at(sums, self.rows, self.values)
        np.add.at(sums, self.columns, self.values)
        return sums


def make_terms(
    size: int,
    rows: Any,
    columns: Any,
    values: Any,
    linear: Any = None,
    offset: Any = 0,
    *,
    spins: bool,
    names: tuple[str, str, str, str, str] = ("rows", "columns", "values", "linear", "offset"),
) -> Terms:
    """Terms from pairs in any order. Repeated pairs are summed; of a bit with itself, they are linear terms.

    Args:
      size: number of variables.
      rows: [m] indices.
      columns: [m] indices.
      values: [m] coefficients.
      linear: [size] coefficients, 0 by default.
      offset: a number.
      spins: whether variables are spins, which have no pairs with themselves.
      names: of the arguments from `rows` on, for the messages of errors.

    Raises:
      ValueError: if shapes do not fit, an index is out of range, or a coefficient is no finite real number.
    """
    rows_name, columns_name, values_name, linear_name, offset_name = names
    rows, columns = _indices(rows, size, rows_name), _indices(columns, size, columns_name)
    values = as_numbers(values, values_name)
    if not len(rows) == len(columns) == values.size or values.ndim != 1:
        raise ValueError(
            f"{rows_name}, {columns_name} and {values_name} must have one entry for each pair, got "
            f"{len(rows)}, {len(columns)} and shape {values.shape}"
        )
    linear = np.zeros(size, np.int64) if linear is None else as_numbers(linear, linear_name)
    if linear.shape != (size,):
        raise ValueError(f"{linear_name} must have shape ({size},), one entry for each variable, got {linear.shape}")
    offset = as_numbers(offset, offset_name)
    if offset.shape != ():
        raise ValueError(f"{offset_name} must be a scalar, got shape {offset.shape}")
    if offset.dtype == np.float64 and float(offset).is_integer():
        offset = np.array(int(offset), dtype=object)  # which leaves integers exact
    if (values.dtype == np.float64) != (linear.dtype == np.float64):
        values, linear = _whole(values), _whole(linear)  # else floats, such as zeros, would round the integers
    if any(array.dtype == np.float64 for array in (values, linear, offset)):
        values, linear = (array.astype(np.float64) for array in (values, linear))
    elif _total(abs(values)) + _total(abs(linear)) + abs(int(offset)) >= _SAFE // 8:
        values, linear = values.astype(object), linear.astype(object)

    loops = rows == columns
    if spins and loops.any():
        raise ValueError(
            f"{rows_name} and {columns_name} must be different, got {rows[loops][0]} in both: a spin times itself is "
            f"the constant 1; add it to {offset_name}"
        )
    if loops.any():
        linear = linear.copy()
        np.add.at(linear, rows[loops], values[loops])
        rows, columns, values = rows[~loops], columns[~loops], values[~loops]
    first, second = np.minimum(rows, columns), np.maximum(rows, columns)
    pairs, inverse = np.unique(first * size + second, return_inverse=True)
    sums = np.zeros(len(pairs), values.dtype)
    np.add.at(sums, inverse, values)
    kept = sums != 0
    pairs, sums = pairs[kept], sums[kept]
    return Terms(linear, pairs // size, pairs % size, sums, offset.item(), spins)


def as_numbers(value: Any, name: str) -> np.ndarray:
    """`value` as float64, int64, or Python integers where int64 is too small; refuses what is not real and finite."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array of real numbers: {error}") from error
    if array.dtype.kind == "u" and array.max(initial=0) < _SAFE:
        return array.astype(np.int64)
    if array.dtype.kind in "uO":
        array = array.astype(object)
        if all(isinstance(entry, int | np.integer) for entry in array.flat):
            small = all(abs(int(entry)) < _SAFE for entry in array.flat)
            return array.astype(np.int64) if small else np.vectorize(int, otypes=[object])(array)
    if array.dtype.kind in "ib":
        return array.astype(np.int64)
    if array.dtype.kind == "c":
        raise ValueError(f"{name} must be real, got {array.dtype}; pass its real part")
    if array.dtype.kind in "USm":
        raise ValueError(f"{name} must be an array of real numbers, got {type(value).__name__}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers, got {type(value).__name__}") from error
    check_finite(array, name)
    return array


def halved(numbers: np.ndarray) -> np.ndarray:
    """Half of each number; of integers that are all even, integers again."""
    if numbers.dtype != np.float64 and not np.any(numbers % 2):
        return numbers // 2
    return numbers / 2


def holds(dtype: Any, numbers: np.ndarray) -> bool:
    """Whether a floating-point type has every number as it is."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = numbers.astype(np.float64).astype(dtype).astype(np.float64)
    if numbers.dtype == np.int64:  # which a comparison with floats would round
        rounded = rounded.astype(np.int64)
    return bool(np.all(rounded == numbers))


def check_finite(array: np.ndarray, name: str) -> None:
    """Raises `ValueError`, naming the first entry that is NaN or infinite."""
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        where = f"{name}[{', '.join(map(str, index))}]" if index else name
        raise ValueError(f"{where} is {array[index]}; every entry must be finite")


def _indices(value: Any, size: int, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a list of integers, got {array.dtype} of shape {array.shape}")
    outside = (array < 0) | (array >= size)
    if outside.any():
        raise ValueError(f"{name} must be between 0 and {size - 1}, got {array[outside][0]}")
    return array.astype(np.int64)


def _as_integers(numbers: np.ndarray) -> np.ndarray | None:
    """The same numbers in int64, or as Python integers where sums could overflow; None where one is not whole."""
    if numbers.dtype == object:
        if not all(isinstance(number, int) or float(number).is_integer() for number in numbers):
            return None
        integers = np.array([int(number) for number in numbers], dtype=object)
        return integers.astype(np.int64) if sum(abs(integers)) < _SAFE else integers
    if not np.array_equal(numbers, np.rint(numbers)):
        return None
    if np.sum(np.abs(numbers), dtype=np.float64) < _SAFE / 2:
        return numbers.astype(np.int64)
    return np.array([int(number) for number in numbers], dtype=object)


def _whole(numbers: np.ndarray) -> np.ndarray:
    """The same as integers, where all are whole and small enough."""
    is_whole = numbers.dtype == np.float64 and np.all((numbers == np.rint(numbers)) & (np.abs(numbers) < _SAFE))
    return numbers.astype(np.int64) if is_whole else numbers


def _total(values: np.ndarray) -> int | float:
    return sum(values.tolist()) if values.dtype != np.float64 else float(values.sum())
