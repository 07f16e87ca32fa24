"""Models of dimod, as it serialises them: its file format, and JSON of `to_serializable`."""

import json

import numpy as np

from qama_jax.problems.bqm import import_dimod, terms_of_bqm
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


def read_bqm(source: Source) -> Model:
    """What `bqm.to_file()` holds."""
    dimod = import_dimod()
    try:
        bqm = dimod.BinaryQuadraticModel.from_file(source.data)
    except Exception as error:  # of many kinds, for bytes cut anywhere
        raise ValueError(f"{source.name} holds no binary quadratic model; write it by bqm.to_file()") from error
    return Model(terms_of_bqm(bqm), tuple(bqm.variables))


def read_json(source: Source) -> Model:
    """What `json.dumps(bqm.to_serializable())` gives."""
    dimod = import_dimod()
    try:
        bqm = dimod.BinaryQuadraticModel.from_serializable(json.loads(source.text()))
    except Exception as error:  # of many kinds, for JSON of anything
        raise ValueError(
            f"{source.name} holds no binary quadratic model; write it by json.dumps(bqm.to_serializable())"
        ) from error
    return Model(terms_of_bqm(bqm), tuple(bqm.variables))


def write_bqm(model: Model) -> bytes:
    """By `bqm.to_file()`."""
    with _bqm(model).to_file() as file:
        return file.read()


def write_json(model: Model) -> str:
    """By `bqm.to_serializable()`."""
    return json.dumps(_bqm(model).to_serializable()) + "\n"


def _bqm(model: Model):
    dimod = import_dimod()
    terms = model.terms
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        terms.linear.astype(np.float64),
        (terms.rows, terms.columns, terms.values.astype(np.float64)),
        float(terms.offset),
        "SPIN" if terms.spins else "BINARY",
        variable_order=list(model.labels),
    )
