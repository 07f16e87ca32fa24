"""dimod's own files, of `bqm.to_file()`."""

from qama_jax.problems.bqm import import_dimod
from qama_jax.problems.formats.dimod_model import bqm_of_model, model_of_bqm
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source


def _read(source: Source) -> Model:
    dimod = import_dimod()
    try:
        bqm = dimod.BinaryQuadraticModel.from_file(source.data)
    except Exception as error:  # of many kinds, for bytes cut anywhere
        raise ValueError(f"{source.name} holds no binary quadratic model; write it by bqm.to_file()") from error
    return model_of_bqm(bqm)


def _write(model: Model) -> bytes:
    with bqm_of_model("bqm", model).to_file() as file:
        return file.read()


BQM = Format("bqm", _read, lambda source: source.data.startswith(b"DIMODBQM"), _write, labels=True)
