"""Ising problems of D-Wave's Qubist: `n m`, then `i i h` and `i j J`, spins from 0: `Σ h_i σ_i + Σ J_ij σ_i σ_j`."""

import numpy as np

from qama_jax.problems.formats.counted import read_counted, shape, write_counted
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.terms import make_terms


def _detect(source: Source) -> bool:
    found = shape(source)
    if found is None or found.says is not None:
        return found is not None and found.says == "qubist"
    return found.fits_zero and found.is_plain


def _read(source: Source) -> Model:
    size, rows, columns, weights = read_counted(source, 0, weights=True)
    loops = rows == columns
    linear = np.zeros(size, weights.dtype)
    linear[rows[loops]] = weights[loops]
    pairs = rows[~loops], columns[~loops], weights[~loops]
    return Model(make_terms(size, *pairs, linear, spins=True), tuple(range(size)))


def _write(model: Model) -> str:
    terms = model.terms.to_spins()
    refuse_loss("qubist", offset=terms.offset != 0)
    fields = np.flatnonzero(terms.linear)
    rows, columns = np.concatenate([fields, terms.rows]), np.concatenate([fields, terms.columns])
    weights = np.concatenate([terms.linear[fields].astype(object), terms.values.astype(object)])
    return write_counted(0, terms.size, rows, columns, weights)


QUBIST = Format("qubist", _read, _detect, _write)
