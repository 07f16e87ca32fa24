"""Flax NNX modules for the three stages of QAMA."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Bool, Float, Int8

from qama_jax.attention import anneal, build_hamiltonians, distribute_energies
from qama_jax.layers.arguments import layer_solver
from qama_jax.layers.streams import draw, evaluation_key, first_stream
from qama_jax.problems.attention import AttentionHamiltonian, Select
from qama_jax.solvers.base import Solution, Solver


class QuboConstruction(nnx.Module):
    """First stage: from queries, keys and values to Hamiltonians, equations (3), (4) and (10).

    Attributes:
      importance: the learnable W_ε, [head_dim].

    Args:
      head_dim: D.
      rho_0: ρ₀ of equation (10).
      gamma_0: γ₀ of equation (10).
      importance_init: initialiser of W_ε. The importances are standardised, so that its scale affects only the output,
        whose initial scale it is. It is small, so that a layer starts quiet beside the residual stream.
      param_dtype: type of W_ε.
      select: whose tokens the bits select, "queries" or "keys".
      rngs: gives the stream `params`.
    """

    def __init__(
        self,
        head_dim: int,
        *,
        rho_0: float = 0.16,
        gamma_0: float = 0.8,
        importance_init: Initializer = nnx.initializers.normal(0.05),
        param_dtype: Dtype = jnp.float32,
        select: Select = "queries",
        rngs: nnx.Rngs,
    ):
        self.rho_0 = rho_0
        self.gamma_0 = gamma_0
        self.select = select
        self.importance = nnx.Param(importance_init(rngs.params(), (head_dim,), param_dtype))

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        key: Float[Array, "*batch keys heads head_dim"],
        value: Float[Array, "*batch selected heads head_dim"],
        mask: Bool[Array, "*batch keys"] | None = None,
        query_mask: Bool[Array, "*batch tokens"] | None = None,
    ) -> AttentionHamiltonian:
        """Hamiltonians whose leaves carry the batch dimensions; see `qama_jax.attention_hamiltonian`."""
        return build_hamiltonians(
            query,
            key,
            value,
            self.importance[...],
            mask=mask,
            query_mask=query_mask,
            rho_0=self.rho_0,
            gamma_0=self.gamma_0,
            select=self.select,
        )


class Annealer(nnx.Module):
    """Second stage: low-energy states of a batch of Hamiltonians.

    Keys come from the stream `anneal` of the call's `rngs`, or else of the constructor's; `dropout` serves where there
    is no `anneal`. A deterministic annealer uses one fixed key for every problem, so that a solution depends only on
    its problem, not on its place in a batch. An annealer without any of these streams does the same, in training too.

    Args:
      solver: any solver of `qama_jax`. If None, `SimulatedBifurcation()` in evaluation, and in training the same solver
        with 10 steps and at most 4 steps of descent, from which a network learns as much.
      deterministic: whether to use the fixed key; `module.eval()` sets it. If None, the fixed key is used where there
        is no stream, which counts as evaluation too.
      rngs: random streams, kept as a fork.
    """

    def __init__(
        self,
        solver: Solver | None = None,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ):
        self.solver = solver
        self.deterministic = deterministic
        stream = first_stream(rngs, "anneal", "dropout")
        self.stream = nnx.data(None if stream is None else stream.fork())

    def __call__(
        self,
        hamiltonians: AttentionHamiltonian,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ) -> Solution:
        """Solutions whose leaves carry the batch dimensions; see `qama_jax.solve`.

        Raises:
          TraceContextError: if a transformation of JAX holds the stream that is to advance.
        """
        return prepare(self, deterministic, rngs)(hamiltonians)


def prepare(
    annealer: Annealer, deterministic: bool | None, rngs: nnx.Rngs | nnx.RngStream | None
) -> Callable[[AttentionHamiltonian], Solution]:
    """A call of the annealer as a function that draws from no stream: if it needs a key, the key is drawn now."""
    if deterministic is None:
        deterministic = annealer.deterministic
    stream = None if deterministic else first_stream(rngs, "anneal", "dropout") or annealer.stream
    if deterministic is None:
        deterministic = stream is None
    key = evaluation_key() if stream is None else draw(stream)
    return functools.partial(anneal, key, solver=layer_solver(annealer.solver, deterministic), one_key=stream is None)


class EnergyDistribution(nnx.Module):
    """Third stage of the paper: from a selection to features, equation (5), as `EnergyReadout` makes them.

    It has no parameters: W_ε is shared with the first stage.
    """

    def __call__(
        self,
        hamiltonians: AttentionHamiltonian,
        bits: Int8[Array, "*batch heads tokens"],
        importance: Float[Array, "head_dim"],
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """Features; see `qama_jax.readouts.distribution.distribute_energy`."""
        return distribute_energies(hamiltonians, bits, importance)
