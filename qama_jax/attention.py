"""Quantum annealing multi-head attention as functions over batches; no Flax here.

The three stages of the paper's Figure 1, `build_hamiltonians`, `anneal` and `read_out` (with `EnergyReadout` the
paper's `distribute_energies`), and their composition `qama_attention`. All are compiled, and all vmap the functions
for one problem over the batch.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int8, Key

from qama_jax.batching import over_batch
from qama_jax.problems.attention import (
    AttentionHamiltonian,
    Select,
    asking_queries,
    attention_hamiltonian,
    check_shapes,
)
from qama_jax.readouts import ChunkedReadout, Dropout, EnergyReadout, Readout, check_readout, is_mixing
from qama_jax.readouts.base import is_causal, without_padding
from qama_jax.readouts.chunks import into_chunks
from qama_jax.readouts.distribution import distribute_energy
from qama_jax.seeds import check_key
from qama_jax.solvers.base import Solution, Solver, solve
from qama_jax.solvers.simulated_bifurcation import SimulatedBifurcation


class AttentionDiagnostics(NamedTuple):
    """What the annealer selected, detached.

    `qama_jax.analysis` computes from `bits` how much each head selects (`selection_density`), what heads have in
    common (`head_overlap`) and how many heads select a token (`heads_per_token`), under `jax.jit` too. With
    `MemoryReadout`, whose problems are chunks, these are a last axis of the batch, and N is the length of a chunk.

    Attributes:
      bits: int8 [*batch, H, N], 1 where a head selects a token.
      energy: [*batch], the Hamiltonian (3) at `bits`.
      token_energy: [*batch, H, N], the terms e_ti of E_out (5).

    Example:
      >>> import jax, qama_jax
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> _, diagnostics = qama_jax.qama_attention(q, k, v, jax.numpy.ones(8), rng=jax.random.key(1))
      >>> density = qama_jax.analysis.selection_density(diagnostics.bits)  # mask=mask where tokens are padded
      >>> overlap = qama_jax.analysis.head_overlap(diagnostics.bits)
      >>> density.shape, overlap.shape
      ((2, 4), (2, 4, 4))
    """

    bits: Int8[Array, "*batch heads tokens"]
    energy: Float[Array, "*batch"]
    token_energy: Float[Array, "*batch heads tokens"]


@functools.partial(jax.jit, static_argnames="select", inline=True)
def build_hamiltonians(
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    *,
    mask: Bool[Array, "*batch keys"] | None = None,
    query_mask: Bool[Array, "*batch tokens"] | None = None,
    rho_0: float = 0.16,
    gamma_0: float = 0.8,
    select: Select = "queries",
) -> AttentionHamiltonian:
    """`attention_hamiltonian` for every element of the batch; the leaves carry the batch dimensions."""
    check_shapes(query, key, value, importance, mask, select, query_mask)

    def build(query, key, value, mask, query_mask, importance):
        asking = asking_queries(mask, query_mask, query.shape[0], key.shape[0])
        (value,) = without_padding(mask if select == "keys" else asking, value)
        masks = {"mask": mask, "query_mask": query_mask}
        return attention_hamiltonian(
            query, key, value, importance, **masks, rho_0=rho_0, gamma_0=gamma_0, select=select
        )

    return over_batch(build, query.shape[:-3], importance)(query, key, value, mask, query_mask)


@functools.partial(jax.jit, static_argnames=("solver", "one_key"), inline=True)
def anneal(
    rng: Key[Array, ""], hamiltonians: AttentionHamiltonian, solver: Solver, *, one_key: bool = False
) -> Solution:
    """`solve` for every element of the batch; detached.

    Args:
      rng: typed PRNG key.
      hamiltonians: problems whose leaves carry the batch dimensions.
      solver: what solves them.
      one_key: solve all with `rng` itself, so that a solution depends on its problem alone, and neither on its place
        in the batch nor on the others, as is wanted of a layer in evaluation. By default each has a key of its own.
    """
    check_key(rng, "rng")
    batch = hamiltonians.linear.shape[:-2]
    if one_key:
        return over_batch(lambda problem, key: solve(key, problem, solver), batch, rng)(hamiltonians)
    return over_batch(functools.partial(solve, solver=solver), batch)(jax.random.split(rng, batch), hamiltonians)


@functools.partial(jax.jit, inline=True)
def distribute_energies(
    hamiltonians: AttentionHamiltonian, bits: Int8[Array, "*batch heads tokens"], importance: Float[Array, "head_dim"]
) -> Float[Array, "*batch tokens heads head_dim"]:
    """`distribute_energy` for every element of the batch."""
    return over_batch(distribute_energy, bits.shape[:-2], importance)(hamiltonians, bits)


@functools.partial(jax.jit, static_argnames="readout", inline=True)
def read_out(
    readout: Readout,
    hamiltonians: AttentionHamiltonian,
    solutions: Solution,
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    dropout: Dropout | None = None,
    segments: Int[Array, "*batch tokens"] | Bool[Array, "*batch tokens"] | None = None,
    mix: Float[Array, "heads"] | None = None,
    query_mask: Bool[Array, "*batch tokens"] | None = None,
) -> Float[Array, "*batch tokens heads head_dim"]:
    """`readout.read` for every element of the batch, in the type of `query`; computed in that of the Hamiltonian.

    Segments are for a `ChunkedReadout` alone, and `mix` for a `MixingReadout`, which say what they are; `query_mask` is
    as in `qama_attention`.
    """
    batch = query.shape[:-3]
    tensors = (array.astype(hamiltonians.dtype) for array in (query, key, value))
    read, arguments = functools.partial(_read, readout), (hamiltonians, solutions, *tensors, segments, query_mask)
    if dropout is None or dropout.broadcast:
        features = over_batch(read, batch, dropout, mix, importance)(*arguments)
    else:
        dropout = dataclasses.replace(dropout, key=jax.random.split(dropout.key, batch))
        features = over_batch(read, batch, mix, importance)(*arguments, dropout)
    return features.astype(query.dtype)


def _read(
    readout: Any, hamiltonian, solution, query, key, value, segments, query_mask, dropout, mix, importance
) -> Array:
    """One problem's features. Hidden tokens may hold anything, even NaN; what is finite is read as Flax reads it."""
    visible = segments
    if visible is None and not isinstance(readout, ChunkedReadout):
        visible = hamiltonian.mask
    if readout.select == "keys":
        visible = None if visible is None else visible.astype(bool)
        key, value = without_padding(visible, key, value)
        asking = asking_queries(visible, query_mask, query.shape[0], key.shape[0])
        if asking is not None:
            query = jnp.where(asking[:, None, None] | jnp.isfinite(query), query, 0)
    named = {"dropout": dropout, "segments": segments, "mix": mix}
    given = {name: argument for name, argument in named.items() if argument is not None}
    return readout.read(hamiltonian, solution, query, key, value, importance, **given)


def run_stages(
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    visible: Bool[Array, "*batch keys"] | Int[Array, "*batch keys"] | None,
    asking: Bool[Array, "*batch tokens"] | None = None,
    *,
    build: Callable[..., AttentionHamiltonian],
    anneal: Callable[[AttentionHamiltonian], Solution],
    readout: Readout,
    dropout: Dropout | None = None,
    mix: Float[Array, "heads"] | None = None,
) -> tuple[Float[Array, "*batch tokens heads head_dim"], AttentionHamiltonian, Solution]:
    """The three stages, one after another.

    Args:
      query, key, value, importance: see `qama_attention`.
      visible: the keys that may be seen, or None for all; where problems are chunks, also the segments of tokens, see
        `ChunkedReadout`.
      asking: the queries that see any key; None where this is what `visible` says.
      build: the first stage, from query, key, value, the visible keys and the asking queries.
      anneal: the second.
      readout: the third.
      dropout: the dropout of the read-out.
      mix: the weights of a `MixingReadout`.

    Returns:
      Features [*batch, N, H, D], the Hamiltonians, and their solutions.
    """
    problems, segments = (query, key, value, visible, asking), None
    if isinstance(readout, ChunkedReadout):
        check_shapes(query, key, value, importance, None, readout.select)
        problems = over_batch(functools.partial(into_chunks, readout), query.shape[:-3])(*problems)
        segments = visible
    hamiltonians = build(*problems)
    solution = anneal(hamiltonians)
    features = read_out(readout, hamiltonians, solution, query, key, value, importance, dropout, segments, mix, asking)
    return features, hamiltonians, solution


def qama_attention(
    query: Float[Array, "*batch tokens heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch selected heads head_dim"],
    importance: Float[Array, "head_dim"],
    *,
    rng: Key[Array, ""],
    solver: Solver = SimulatedBifurcation(),
    readout: Readout = EnergyReadout(),
    mask: Bool[Array, "*batch keys"] | None = None,
    query_mask: Bool[Array, "*batch tokens"] | None = None,
    rho_0: float = 0.16,
    gamma_0: float = 0.8,
    mix: Float[Array, "heads"] | None = None,
) -> tuple[Float[Array, "*batch tokens heads head_dim"], AttentionDiagnostics]:
    """Quantum annealing multi-head attention, in the layout of `flax.nnx.dot_product_attention`.

    Each element of the batch is a problem of its own: its Hamiltonian is built (`attention_hamiltonian`), solved
    (`solve`), and its solution made into features by `readout`: the energies of the selected tokens as in the paper,
    or values. One call solves them all, in time and memory linear in the number of tokens.

    The selection is detached. With `EnergyReadout` the gradient is that of equation (6), exact where the solution is
    locally constant. Read-outs of values are differentiable in the gate of the selection, its probability given the
    annealed state; see `qama_jax.readouts`. No gradient sees the solution jump. Derivatives are those of reverse mode,
    and of forward mode over it, such as `jax.jvp` of a gradient; forward mode alone raises JAX's error.

    Under `jax.export`, N may be symbolic: one program then serves all lengths, with couplings by their factors, blocks
    of windows, and the 60 steps of the default solver that short sequences need. Where constraints settle it, the
    program suits the length: it has the 20 steps of long sequences for `n >= 192`, matrices for `n <= 2 D`, and all
    pairs for `n <= 2 (3 r + k)` with `WindowReadout` or for `m <= 2 k` with `SelectedKeysReadout`.
    With `MemoryReadout` such a program passes over the chunks one after another.

    Args:
      query: [*batch, N, H, D], of any floating-point type; energies and statistics are computed in float32.
      key: [*batch, M, H, D]; in cross-attention, M keys of another sequence.
      value: [*batch, N, H, D] for `EnergyReadout`, which selects queries; [*batch, M, H, D] for the others, which
        select keys.
      importance: [D], the learnable W_ε of equations (4) and (5).
      rng: one typed PRNG key; each problem gets a key of its own.
      solver: minimises the Hamiltonian; no gradient reaches it.
      readout: makes features of the selection; see `qama_jax.readouts`.
      mask: bool [*batch, M], true for visible keys; the others influence nothing. Where M = N, a hidden key is a
        padded token, whose query and value are hidden too: with `EnergyReadout` its features are 0; the
        features of other read-outs at such a token mean nothing, as in softmax attention.
      query_mask: bool [*batch, N], false for queries that ask nothing, like padded ones in cross-attention: they have
        no part in the selection, and their features are like those of padded tokens. None: `mask` where M = N, else
        all ask.
      rho_0: ρ₀ of equation (10).
      gamma_0: γ₀ of equation (10).
      mix: [H], the learnable weights of a read-out that mixes, such as `MixedReadout`; None for all others.

    Returns:
      Features [*batch, N, H, D] in the type of `query`, and `AttentionDiagnostics`.

    Raises:
      ValueError: if shapes disagree, the number of values is not that of the selected tokens, a mask is not boolean,
        `rng` is not a typed key, or `readout` is not a read-out.

    Example:
      >>> import jax, qama_jax
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> features, diagnostics = qama_jax.qama_attention(q, k, v, jax.numpy.ones(8), rng=jax.random.key(1))
      >>> features.shape, diagnostics.bits.shape
      ((2, 16, 4, 8), (2, 4, 16))

    References:
      arXiv:2504.11083v2, algorithm 1 and equations (3) to (6).
    """
    check_readout(readout)
    if (mix is not None) != is_mixing(readout):
        raise ValueError(
            f"mix must be given for a read-out that mixes branches, such as qama_jax.MixedReadout(), and for no other, "
            f"got {mix!r} with {readout!r}"
        )
    if query_mask is not None and is_causal(readout):
        raise ValueError(
            f"query_mask must be None with {readout!r}, whose queries are the tokens that its keys are; pass mask"
        )
    check_shapes(query, key, value, importance, mask, readout.select, query_mask)

    def build(query, key, value, visible, asking):
        settings = {"rho_0": rho_0, "gamma_0": gamma_0, "select": readout.select}
        return build_hamiltonians(query, key, value, importance, mask=visible, query_mask=asking, **settings)

    features, hamiltonians, solution = run_stages(
        query,
        key,
        value,
        importance,
        mask,
        query_mask,
        build=build,
        anneal=functools.partial(anneal, rng, solver=solver),
        readout=readout,
        mix=mix,
    )
    return features, diagnose(hamiltonians, solution)


@functools.partial(jax.jit, inline=True)
def diagnose(hamiltonians: AttentionHamiltonian, solution: Solution) -> AttentionDiagnostics:
    """The diagnostics of solved problems; leaves carry the batch dimensions."""
    token_energy = over_batch(AttentionHamiltonian.token_energy, solution.energy.shape)
    detached = jax.lax.stop_gradient(hamiltonians)
    return AttentionDiagnostics(solution.bits, solution.energy, token_energy(detached, solution.bits))
