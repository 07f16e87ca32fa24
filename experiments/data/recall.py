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

    A token has three parts: a key, a value, and a mark. Tokens of blocks have different keys. In each block, `asked`
    tokens are asked for at the end of the sequence, once each and in random order. A memory that does not hold all
    tokens must choose:

    - "pairs": only these tokens have keys, so that each token tells for itself whether it will be asked for.
    - "groups": all tokens have keys and marks. Those that will be asked for have the same mark, drawn anew for each
      block, and all other marks of a block differ. No token tells for itself; it depends on the others in its block.

    Each block is followed by as many questions about tokens with keys, drawn from the block at random. They do not
    depend on what will be asked for at the end. From them a window learns what a question is.

    Args:
      kind: one of `KINDS`.
      blocks: number of blocks.
      block: tokens of a block.
      asked: tokens of a block that are asked for at the end, and questions that follow a block.

    References:
      Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language Models", arXiv:2312.04927.
    """

    kind: str = "pairs"
    blocks: int = 8
    block: int = 28
    asked: int = 4

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    @property
    def keys(self) -> int:
        """Number of different keys; as many as there are tokens in blocks."""
        return self.blocks * self.block

    @property
    def stride(self) -> int:
        """Tokens of a block and the questions that follow it."""
        return self.block + self.asked

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return self.blocks * (self.stride + self.asked)

    @property
    def vocabulary(self) -> int:
        """Number of ids: nothing, values, keys, marks."""
        return 1 + VALUES + self.keys + self.block

    def draw(
        self, key: Key[Array, ""], count: int
    ) -> tuple[Int[Array, "count length 3"], Int[Array, "count length"], Int[Array, "count questions"]]:
        """Ids of so many sequences; the value that answers each question, -1 for other tokens; and which
        blocks the questions at the end are about.
        """
        return jax.vmap(self._one)(jax.random.split(key, count))

    def _one(self, key: Key[Array, ""]) -> tuple[Array, Array, Array]:
        of_keys, of_values, of_places, of_marks, of_near, of_order = jax.random.split(key, 6)
        keys = 1 + VALUES + jax.random.permutation(of_keys, self.keys).reshape(self.blocks, self.block)
        values = 1 + jax.random.randint(of_values, keys.shape, 0, VALUES)
        # In each block, the tokens of the first ranks are asked for at the end.
        ranks = jnp.argsort(jax.random.uniform(of_places, keys.shape), axis=1)
        marks = jnp.argsort(jax.random.uniform(of_marks, keys.shape), axis=1)
        marks = jnp.where(ranks < self.asked, marks[:, :1], jnp.take_along_axis(marks, ranks, axis=1))
        marks = 1 + VALUES + self.keys + marks
        if self.kind == "pairs":
            keys, marks = jnp.where(ranks < self.asked, keys, 0), jnp.zeros_like(marks)
        tokens = jnp.stack([keys, values, marks], axis=-1)

        far = jnp.argsort(ranks, axis=1)[:, : self.asked]
        near = jnp.argsort(jnp.where(keys > 0, jax.random.uniform(of_near, keys.shape), 1), axis=1)[:, : self.asked]
        (near, of_near_value), (far, of_far_value) = (_questions(tokens, places) for places in (near, far))
        ids = jnp.concatenate([tokens, near], axis=1).reshape(-1, 3)
        answers = jnp.concatenate([jnp.full(keys.shape, -1), of_near_value], axis=1).reshape(-1)
        order = jax.random.permutation(of_order, self.blocks * self.asked)
        return (
            jnp.concatenate([ids, far.reshape(-1, 3)[order]]),
            jnp.concatenate([answers, of_far_value.reshape(-1)[order]]),
            order // self.asked,
        )


def _questions(
    tokens: Int[Array, "blocks block 3"], places: Int[Array, "blocks n"]
) -> tuple[Int[Array, "blocks n 3"], Int[Array, "blocks n"]]:
    """The keys of the tokens at these places, alone; and their values."""
    of_places = jnp.take_along_axis(tokens, places[..., None], axis=1)
    return of_places * jnp.array([1, 0, 0]), of_places[..., 1]
