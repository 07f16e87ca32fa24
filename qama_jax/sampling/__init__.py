"""What samplers do to bits: sweeps by colours, updates of blocks, Markov transitions, and the descent that polishes.

A problem is arranged for them once (`make_sweeper`, `make_blocks`), and states stay in that order from then on. A kind
of problem that has more structure than a matrix registers its own sweeper with `make_sweeper`; any other is swept by
its matrix.
"""

from qama_jax.sampling.arrangement import make_blocks as make_blocks
from qama_jax.sampling.arrangement import make_sweeper as make_sweeper
