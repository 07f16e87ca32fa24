"""Problems, and why attention is one that costs linear time.

A solver sees a `Problem`: an energy that is quadratic in bits, through its fields and the product with its couplings.
`Qubo` and `Ising` hold any couplings; `AttentionHamiltonian` holds those of the paper, equation (3), without ever
forming them.

The couplings of a head are `J⁰ = Q KᵀK Qᵀ/(2D)`. They are N×N numbers, but their rank is at most D. Q and K are
standardised over the tokens, so that everything a solver or a gradient needs follows from Q (N×D), KᵀK (D×D) and a
few sums:

| quantity | as written | from the factors |
|---|---|---|
| fields `J⁰ s` | N² | `Q (KᵀK (Qᵀ s))`: N·D |
| mean of the couplings | N² | minus the sum of the diagonal, as each token's couplings to all tokens sum to 0: N·D |
| their deviation | N² | the trace of `(KᵀK QᵀQ)²`: N·D² |
| flip of one bit | N | Qᵀs changes by a row of Q: D |
| energies, and gradients to Q, K, V | N² | N·D |

Below N = 2D the matrix is the smaller form and is used. Above, no N×N array exists; tests make sure of this by looking
at every intermediate of the compiled layer. The selection is detached (`jax.lax.stop_gradient`), as in equation (6):
gradients are exact where the solution is locally constant, and blind to its jumps.

Problems are pytrees. Under `jax.jit`, pass one as an argument: a program that closes over it has its couplings as
constants, compiles once for each problem instead of once for each size, and may fold them for a long time.

`read_problem` reads a problem from a file; each format is one `Format` in `qama_jax.problems.formats`.
"""

from qama_jax.problems.attention import AttentionHamiltonian as AttentionHamiltonian
from qama_jax.problems.attention import attention_hamiltonian as attention_hamiltonian
from qama_jax.problems.base import Problem as Problem
from qama_jax.problems.files import ProblemFile as ProblemFile
from qama_jax.problems.files import read_biqmac as read_biqmac
from qama_jax.problems.files import read_problem as read_problem
from qama_jax.problems.files import read_rudy as read_rudy
from qama_jax.problems.files import write_problem as write_problem
from qama_jax.problems.ising import Ising as Ising
from qama_jax.problems.quadratic import FixedProblem as FixedProblem
from qama_jax.problems.qubo import Qubo as Qubo
from qama_jax.problems.sparse import SparseCouplings as SparseCouplings
from qama_jax.problems.stacking import stack_problems as stack_problems
