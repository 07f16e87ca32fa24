"""File formats, a module each: bytes to terms, and back.

A new one is a module with its `Format`, and its line below.
"""

from qama_jax.problems.formats.biqmac import BIQMAC
from qama_jax.problems.formats.bqm import BQM
from qama_jax.problems.formats.bqpjson import BQPJSON
from qama_jax.problems.formats.coo import COO
from qama_jax.problems.formats.csv import CSV
from qama_jax.problems.formats.dimacs import DIMACS
from qama_jax.problems.formats.edge_list import EDGE_LIST
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.json import JSON
from qama_jax.problems.formats.kaiwu import KAIWU
from qama_jax.problems.formats.lp import LP
from qama_jax.problems.formats.matrix_market import MATRIX_MARKET
from qama_jax.problems.formats.npy import NPY
from qama_jax.problems.formats.npz import NPZ
from qama_jax.problems.formats.qbsolv import QBSOLV
from qama_jax.problems.formats.qplib import QPLIB
from qama_jax.problems.formats.qs import QS
from qama_jax.problems.formats.qubist import QUBIST
from qama_jax.problems.formats.rudy import RUDY

_ALL = (
    RUDY,
    BIQMAC,
    QS,
    QUBIST,
    QBSOLV,
    COO,
    EDGE_LIST,
    DIMACS,
    QPLIB,
    LP,
    MATRIX_MARKET,
    NPY,
    NPZ,
    CSV,
    KAIWU,
    BQM,
    JSON,
    BQPJSON,
)

FORMATS: dict[str, Format] = {form.name: form for form in _ALL}
