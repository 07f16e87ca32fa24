"""Models of dimod as terms."""

import math
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from qama_jax.problems.terms import Terms, make_terms

if TYPE_CHECKING:
    import dimod


def terms_of_bqm(bqm: "dimod.BinaryQuadraticModel") -> Terms:
    """The terms of a dimod model in the order of its variables, after checks."""
    check_bqm(bqm)
    dimod = import_dimod()
    if bqm.num_variables == 0:
        raise ValueError("bqm must have at least one variable, got none; add one, or take its offset as the energy")
    model = dimod.BinaryQuadraticModel(bqm, dtype=np.float64)
    linear, (rows, columns, values), offset = model.to_numpy_vectors(variable_order=bqm.variables)
    for label, bias in zip(bqm.variables, linear, strict=True):
        if not math.isfinite(bias):
            raise ValueError(f"bqm has the linear bias {bias} at the variable {label!r}; every bias must be finite")
    for row, column, bias in zip(rows, columns, values, strict=True):
        if not math.isfinite(bias):
            pair = bqm.variables[row], bqm.variables[column]
            raise ValueError(f"bqm has the quadratic bias {bias} at the variables {pair!r}; every bias must be finite")
    spins = model.vartype is dimod.SPIN
    return make_terms(bqm.num_variables, rows, columns, values, linear, float(offset), spins=spins)


def check_bqm(bqm: Any) -> None:
    """Raises `ValueError` with the conversion where `bqm` is no binary quadratic model."""
    dimod = import_dimod()
    if isinstance(bqm, dimod.BinaryQuadraticModel):
        return
    if isinstance(bqm, dimod.ConstrainedQuadraticModel | dimod.DiscreteQuadraticModel):
        remedy = "turn them into penalties by `bqm, invert = dimod.cqm_to_bqm(cqm)`, and samples back by `invert`"
        if isinstance(bqm, dimod.DiscreteQuadraticModel):
            remedy = f"with `cqm = dimod.ConstrainedQuadraticModel.from_dqm(dqm)`, {remedy}"
        problem = f"must have no constraints, got a {type(bqm).__name__}"
    else:
        problem = f"must be a dimod.BinaryQuadraticModel, got {type(bqm).__name__}"
        if isinstance(bqm, dimod.BinaryPolynomial):
            remedy = "lower its degree by `dimod.make_quadratic(polynomial, strength, 'BINARY')`"
        elif hasattr(bqm, "linear") and hasattr(bqm, "quadratic"):
            arguments = "model.linear, model.quadratic, model.offset, 'BINARY'"
            remedy = f"where all its variables are binary, pass `dimod.BinaryQuadraticModel({arguments})`"
        elif isinstance(bqm, Mapping):
            remedy = "pass `dimod.BinaryQuadraticModel.from_qubo(Q)`, or `from_ising(h, J)`"
        else:
            remedy = "wrap a matrix as qama_jax.Qubo(matrix), for a sampler as `qama_jax.Qubo(matrix).to_bqm()`"
    raise ValueError(f"bqm {problem}; {remedy}")


def import_dimod() -> ModuleType:
    """The package dimod, which is an extra."""
    try:
        import dimod
    except ImportError as error:
        raise ImportError("conversions from and to dimod need dimod: pip install 'qama-jax[dimod]'") from error
    return dimod
