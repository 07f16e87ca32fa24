"""dimod's JSON, `json.dumps(bqm.to_serializable())`."""

import json

from qama_jax.problems.bqm import import_dimod
from qama_jax.problems.formats.bqpjson import is_bqpjson
from qama_jax.problems.formats.dimod_model import bqm_of_model, model_of_bqm
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


def _detect(source: Source) -> bool:
    return source.is_text and source.text.lstrip().startswith("{") and not is_bqpjson(source)


def _read(source: Source) -> Model:
    dimod = import_dimod()
    try:
        bqm = dimod.BinaryQuadraticModel.from_serializable(json.loads(source.text))
    except Exception as error:  # of many kinds, for JSON of anything
        raise ValueError(
            f"{source.name} holds no binary quadratic model; write it by json.dumps(bqm.to_serializable()), and biases "
            "h and J by dimod.BinaryQuadraticModel.from_ising(h, J)"
        ) from error
    return model_of_bqm(bqm)


def _write(model: Model) -> str:
    return json.dumps(bqm_of_model("json", model).to_serializable()) + "\n"


JSON = Format("json", _read, _detect, _write, labels=True)
