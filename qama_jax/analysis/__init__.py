"""What to ask of solutions: how often and how fast they are found, what surrounds them, what the heads selected.

Pure functions of arrays, usable under `jax.jit` and `jax.vmap`. Arguments that are wrong by value (a probability of
50, spins in place of bits) raise `ValueError` where the values are known, outside of transformations.
"""

from qama_jax.analysis.barriers import MinimalBarrier as MinimalBarrier
from qama_jax.analysis.barriers import flip_path as flip_path
from qama_jax.analysis.barriers import greedy_path as greedy_path
from qama_jax.analysis.barriers import minimal_barrier as minimal_barrier
from qama_jax.analysis.barriers import path_barrier as path_barrier
from qama_jax.analysis.barriers import path_climb as path_climb
from qama_jax.analysis.estimates import Estimate as Estimate
from qama_jax.analysis.estimates import relative_gap as relative_gap
from qama_jax.analysis.estimates import residual_energy as residual_energy
from qama_jax.analysis.estimates import success_probability as success_probability
from qama_jax.analysis.estimates import time_to_solution as time_to_solution
from qama_jax.analysis.flips import FlipLandscape as FlipLandscape
from qama_jax.analysis.flips import FlipStatistics as FlipStatistics
from qama_jax.analysis.flips import flip_landscape as flip_landscape
from qama_jax.analysis.flips import flip_statistics as flip_statistics
from qama_jax.analysis.heads import head_overlap as head_overlap
from qama_jax.analysis.heads import heads_per_token as heads_per_token
from qama_jax.analysis.heads import selection_density as selection_density
