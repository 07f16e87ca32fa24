"""What the annealers of a trained SimpleViT see and select."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Int8, Num

from experiments.models.simple_vit import SimpleViT
from qama_jax import AttentionHamiltonian, analysis
from qama_jax.attention import distribute_energies
from qama_jax.readouts.selection import strongest


class Look(NamedTuple):
    """The attention of one block for one image.

    Attributes:
      bits: [heads, tokens], 1 where a head selects a token.
      energy: of the selection.
      token_energy: [heads, tokens], the terms of E_out, equation (5).
      features: [tokens, heads, head_dim], the distributed energy before the output projection.
      flipped: [heads, tokens], energy after the flip of each bit alone.
    """

    bits: Int8[np.ndarray, "heads tokens"]
    energy: float
    token_energy: Float[np.ndarray, "heads tokens"]
    features: Float[np.ndarray, "tokens heads head_dim"]
    flipped: Float[np.ndarray, "heads tokens"]


def hamiltonians(
    model: SimpleViT, images: Num[Array, "batch height width channels"], block: int = -1
) -> AttentionHamiltonian:
    """The problems that a block's annealer gets for the images; leaves carry the batch."""
    x = model.tokens(images)
    for earlier in model.blocks[:block]:
        x = earlier(x, deterministic=True, rngs=None, sow=False)
    inputs, layer = model.blocks[block].attention_norm(x), model.blocks[block].attention
    return layer.qubo(layer.query(inputs), layer.key(inputs), layer.value(inputs))


def keys_read(model: SimpleViT, image: Num[Array, "height width channels"]) -> Int[np.ndarray, "heads keys"]:
    """The keys that the heads of the last block, which has a `SelectedKeysReadout`, read of an image in evaluation."""
    problems, layer = hamiltonians(model, image[None]), model.blocks[-1].attention
    solution = layer.annealer(problems, deterministic=True)
    problem, solution = jax.tree.map(lambda leaf: leaf[0], (problems, solution))
    return np.asarray(strongest(problem, solution, layer.readout.beta, layer.readout.num_keys).indices)


def look_inside(model: SimpleViT, image: Num[Array, "height width channels"]) -> Look:
    """What the last block selects for an image, as in evaluation."""
    problems, layer = hamiltonians(model, image[None]), model.blocks[-1].attention
    solution = layer.annealer(problems, deterministic=True)
    features = distribute_energies(problems, solution.bits, layer.qubo.importance[...])
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    bits = solution.bits[0]
    landscape = analysis.flip_landscape(problem, bits)
    arrays = (bits, problem.token_energy(bits), features[0], landscape.flipped)
    bits, token_energy, features, flipped = map(np.asarray, arrays)
    return Look(bits, float(landscape.energy), token_energy, features, flipped)
