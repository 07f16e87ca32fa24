from qama_jax.problems.attention import AttentionHamiltonian as AttentionHamiltonian
from qama_jax.problems.attention import attention_hamiltonian as attention_hamiltonian
from qama_jax.problems.base import Problem as Problem
from qama_jax.problems.qubo import Ising as Ising
from qama_jax.problems.qubo import Qubo as Qubo
