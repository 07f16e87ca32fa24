"""Associative recall: what stood beside a key, far back in a sequence; a data set of our own, made on the spot."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

VALUES = 8
KINDS = ("pairs", "groups")


@dataclasses.dataclass(frozen=True)
class Recall:
    """Sequences of blocks of tokens, then questions: keys whose values are to be said.

    A token has three parts: a key, a value, and a mark. A key occurs once in a sequence. In each block, `asked` tokens
    are asked for in the end, once each and in random order. A memory that does not hold them all must choose:

    - "pairs": only these tokens have keys, so that each token tells for itself whether it will be asked for.
    - "groups": all tokens have keys and marks. Those that will be asked for have the same mark, drawn anew for each
      block, and all other marks of a block differ. No token tells for itself; it depends on the others in its block.

    Args:
      kind: one of `KINDS`.
      blocks: number of blocks.
      block: tokens of a block.
      asked: tokens of a block that are asked for.

    References:
      Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language Models", arXiv:2312.04927.
    """

    kind: str = "pairs"
    blocks: int = 8
    block: int = 32
    asked: int = 4

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    @property
    def keys(self) -> int:
        """Number of different keys; as many as there are tokens before the questions."""
        return self.blocks * self.block

    @property
    def length(self) -> int:
        """Tokens of a sequence, with the questions."""
        return self.blocks * (self.block + self.asked)

    @property
    def vocabulary(self) -> int:
        """Number of ids: nothing, values, keys, marks."""
        return 1 + VALUES + self.keys + self.block

    def draw(
        self, key: Key[Array, ""], count: int
    ) -> tuple[Int[Array, "count length 3"], Int[Array, "count length"], Int[Array, "count questions"]]:
        """Ids of so many sequences; the value that answers each question, -1 for other tokens; the blocks asked for."""
        return jax.vmap(self._one)(jax.random.split(key, count))

    def _one(self, key: Key[Array, ""]) -> tuple[Array, Array, Array]:
        of_keys, of_values, of_places, of_marks, of_order = jax.random.split(key, 5)
        keys = 1 + VALUES + jax.random.permutation(of_keys, self.keys).reshape(self.blocks, self.block)
        values = 1 + jax.random.randint(of_values, keys.shape, 0, VALUES)
        # In each block, the tokens of the first ranks are asked for.
        ranks = jnp.argsort(jax.random.uniform(of_places, keys.shape), axis=1)
        marks = jnp.argsort(jax.random.uniform(of_marks, keys.shape), axis=1)
        marks = jnp.where(ranks < self.asked, marks[:, :1], jnp.take_along_axis(marks, ranks, axis=1))
        marks = 1 + VALUES + self.keys + marks
        if self.kind == "pairs":
            keys, marks = jnp.where(ranks < self.asked, keys, 0), jnp.zeros_like(marks)
        tokens = jnp.stack([keys, values, marks], axis=-1).reshape(-1, 3)

        asked = jnp.argsort(ranks, axis=1)[:, : self.asked] + self.block * jnp.arange(self.blocks)[:, None]
        asked = jax.random.permutation(of_order, asked.reshape(-1))
        questions = tokens[asked] * jnp.array([1, 0, 0])
        nothing = jnp.full(self.blocks * self.block, -1)
        return (
            jnp.concatenate([tokens, questions]),
            jnp.concatenate([nothing, tokens[asked, 1]]),
            asked // self.block,
        )
