"""File formats, one module for each kind: bytes to terms, and back."""

from qama_jax.problems.formats.coo import read_coo, write_coo
from qama_jax.problems.formats.matrices import (
    read_matrix_market,
    read_npy,
    read_npz,
    write_matrix_market,
    write_npy,
    write_npz,
)
from qama_jax.problems.formats.models import read_bqm, read_json, write_bqm, write_json
from qama_jax.problems.formats.pairs import read_biqmac, read_qs, read_rudy, write_biqmac, write_qs, write_rudy
from qama_jax.problems.formats.qbsolv import read_qbsolv, write_qbsolv
from qama_jax.problems.formats.qplib import read_qplib, write_qplib

READERS = {
    "rudy": read_rudy,
    "biqmac": read_biqmac,
    "qs": read_qs,
    "qbsolv": read_qbsolv,
    "coo": read_coo,
    "qplib": read_qplib,
    "matrix-market": read_matrix_market,
    "npy": read_npy,
    "npz": read_npz,
    "bqm": read_bqm,
    "json": read_json,
}

WRITERS = {
    "rudy": write_rudy,
    "biqmac": write_biqmac,
    "qs": write_qs,
    "qbsolv": write_qbsolv,
    "coo": write_coo,
    "qplib": write_qplib,
    "matrix-market": write_matrix_market,
    "npy": write_npy,
    "npz": write_npz,
    "bqm": write_bqm,
    "json": write_json,
}
