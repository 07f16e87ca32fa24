from qama_jax.problems.attention import AttentionHamiltonian as AttentionHamiltonian
from qama_jax.problems.attention import attention_hamiltonian as attention_hamiltonian
from qama_jax.problems.base import Problem as Problem
from qama_jax.problems.files import read_biqmac as read_biqmac
from qama_jax.problems.files import read_rudy as read_rudy
from qama_jax.problems.qubo import Ising as Ising
from qama_jax.problems.qubo import Qubo as Qubo
