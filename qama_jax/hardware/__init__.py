from qama_jax.hardware.embedding import Embedding as Embedding
from qama_jax.hardware.embedding import decode as decode
from qama_jax.hardware.embedding import embed as embed
from qama_jax.hardware.machine import Machine as Machine
