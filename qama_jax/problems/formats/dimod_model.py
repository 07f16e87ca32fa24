"""Models of dimod for the formats that it serialises."""

from typing import Any

import numpy as np

from qama_jax.problems.bqm import import_dimod, terms_of_bqm
from qama_jax.problems.formats.model import Model, has_long_integers, refuse_loss


def model_of_bqm(bqm: Any) -> Model:
    """The terms of a model, and its variables."""
    return Model(terms_of_bqm(bqm), tuple(bqm.variables))


def bqm_of_model(form: str, model: Model) -> Any:
    """The model in float64, as dimod serialises it."""
    terms = model.terms
    refuse_loss(form, integer_beyond_53_bits=has_long_integers(terms))
    return import_dimod().BinaryQuadraticModel.from_numpy_vectors(
        terms.linear.astype(np.float64),
        (terms.rows, terms.columns, terms.values.astype(np.float64)),
        float(terms.offset),
        "SPIN" if terms.spins else "BINARY",
        variable_order=list(model.labels),
    )
