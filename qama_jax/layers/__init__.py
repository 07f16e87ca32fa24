"""The Flax layers: `qama_jax.QAMAAttention` for NNX, `qama_jax.linen.QAMAAttention`, and the stages as modules."""

from qama_jax.layers.nnx import QAMAAttention as QAMAAttention
from qama_jax.layers.stages import Annealer as Annealer
from qama_jax.layers.stages import EnergyDistribution as EnergyDistribution
from qama_jax.layers.stages import QuboConstruction as QuboConstruction
