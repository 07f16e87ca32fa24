"""Simulated quantum annealing."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from qama_jax.checks import check_choice, check_count, check_flag, check_positive
from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.problems.base import Bits, Problem
from qama_jax.sampling.arrangement import make_blocks, make_sweeper
from qama_jax.sampling.blocks import Blocks, BlockState
from qama_jax.sampling.noise import draw_seeds, logistic
from qama_jax.sampling.sparse_sweeps import SparseSweeper
from qama_jax.sampling.sweeps import Sweeper
from qama_jax.solvers.base import start_bits
from qama_jax.solvers.iterative import IterativeSolver
from qama_jax.solvers.schedules import Schedule, beta_range, check_schedule, evaluate

_Row = tuple[Float[Array, ""], Float[Array, ""]]  # (B/P) β_t and J⊥


class _Slices(NamedTuple):
    problem: Problem
    arranged: Sweeper | SparseSweeper | Blocks


@dataclasses.dataclass(frozen=True)
class PathIntegralAnnealing(IterativeSolver):
    """Simulated quantum annealing: path-integral Monte Carlo of a transverse-field Ising model.

    Equation (2), `H_t = α_t H_initial + β_t H_problem` with `H_initial = -Γ Σ_i σˣ_i`: the field that flips spins falls
    while the problem's weight rises. Trotter slices, copies of the bits on a ring, follow the classical weight

        exp(-(B/P) β_t Σ_k E(s_k) + J⊥ Σ_k s_k · s_{k+1}),    J⊥ = ½ ln coth(B α_t Γ / P)

    B being the inverse temperature, P the number of slices, s = ±1. A sweep visits every bit by heat-bath in all slices
    at once, even slices first; on attention problems one of every head a step. With `update="block"`, the choice for
    accelerators, all bits of the even slices of an attention problem move at once, then all of the odd ones, as by
    `BlockGibbs`. A read is the lowest slice at the end.

    Args:
      num_sweeps: visits of every bit in every slice.
      num_reads: independent runs; the best is the solution.
      num_slices: P, even.
      slice_beta: B/P in 1/energy; None takes the cold end of the range that `SimulatedAnnealing` finds.
      transverse_field: schedule of B α_t Γ / P, no unit: a tuple (linear between its values) or a function of the
        fraction done. At 3 slices are all but free of each other, at 0.1 bound with J⊥ = 1.2.
      problem_weight: schedule of β_t.
      update: "heat_bath"; or "block", which is "heat_bath" on problems other than attention.
      record_energy: adds `energy_trace` [num_reads, num_sweeps], of the lowest slice, to the info.

    Info: `slices` [num_reads, num_slices, *problem.shape], at the end.

    Raises:
      ValueError: if a setting is out of range.

    References:
      arXiv:2504.11083v2, equation (2); Martonak, Santoro, Tosatti, "Quantum annealing by the path-integral Monte
      Carlo method", Physical Review B 66, 094203 (2002).
    """

    num_sweeps: int = 100
    num_reads: int = 1
    num_slices: int = 8
    slice_beta: float | None = None
    transverse_field: Schedule = (3.0, 0.05)
    problem_weight: Schedule = (0.0, 1.0)
    update: Literal["heat_bath", "block"] = "heat_bath"
    record_energy: bool = False
    reads_together = True

    def __post_init__(self):
        check_flag(record_energy=self.record_energy)
        check_count(num_sweeps=self.num_sweeps, num_reads=self.num_reads)
        check_count(2, num_slices=self.num_slices)
        if self.num_slices % 2:
            raise ValueError(f"num_slices must be even, so that even and odd slices alternate, got {self.num_slices}")
        if self.slice_beta is not None:
            check_positive(slice_beta=self.slice_beta)
        check_choice(("heat_bath", "block"), update=self.update)
        check_schedule("transverse_field", self.transverse_field)
        check_schedule("problem_weight", self.problem_weight)

    def arrange(self, problem: Problem) -> _Slices:
        if self.update == "block" and isinstance(problem, AttentionHamiltonian):
            return _Slices(problem, make_blocks(problem))
        return _Slices(problem, make_sweeper(problem))

    def schedule(self, problem: Problem) -> tuple[Float[Array, "num_sweeps"], Float[Array, "num_sweeps"]]:
        """`(B/P) β_t` and J⊥."""
        dtype = problem.dtype
        slice_beta = beta_range(problem)[1] if self.slice_beta is None else jnp.asarray(self.slice_beta, dtype)
        weight = slice_beta * evaluate(self.problem_weight, self.num_sweeps, dtype)
        transverse = jnp.maximum(evaluate(self.transverse_field, self.num_sweeps, dtype), jnp.finfo(dtype).tiny)
        # ½ ln coth u
        return weight, -jnp.log(jnp.tanh(transverse)) / 2

    def init(self, key: Key[Array, ""], slices: _Slices, bits: Bits | None) -> Any:
        if bits is not None:
            bits = jnp.repeat(bits, self.num_slices, axis=0)
        return slices.arranged.arrange(start_bits(key, slices.problem, self.num_reads * self.num_slices, bits))

    def step(self, key: Key[Array, ""], slices: _Slices, state: Any, row: _Row) -> tuple[Any, None]:
        if isinstance(slices.arranged, Blocks):
            return self._update(key, slices.arranged, state, row), None
        return self._sweep(key, slices.arranged, state, row), None

    def _update(self, key: Key[Array, ""], blocks: Blocks, state: BlockState, row: _Row) -> BlockState:
        """All bits of the even slices, then of the odd ones."""
        weight, binding = row
        weights = jnp.broadcast_to(weight, self.num_reads * self.num_slices)
        first, *seeds = draw_seeds(key, 3)
        pairs = (self.num_reads, self.num_slices // 2, 2, *blocks.field.shape)
        drive = blocks.draw_drive(first, state, weights).reshape(pairs)
        slices = list(jnp.unstack(state.bits.reshape(pairs), axis=2))
        for turn, other in ((0, 1), (1, 0)):
            bound = slices[other]
            # Of spins; the sum over both neighbours is twice that of their bits, less 2.
            neighbours = 2 * (bound + jnp.roll(bound, 1 if turn == 0 else -1, axis=1)) - 2
            odds = (drive[:, :, turn] + 2 * binding * neighbours).reshape(-1, *blocks.field.shape)
            drawn = blocks.draw_bits(seeds[turn], odds, weights[: len(odds)])
            slices[turn] = drawn.reshape(bound.shape)
        return blocks.with_means(jnp.stack(slices, axis=2).reshape(state.bits.shape))

    def _sweep(self, key: Key[Array, ""], sweeper: Sweeper | SparseSweeper, state: Array, row: _Row) -> Array:
        """One colour after another; in each, the even slices and then the odd ones."""
        weight, binding = row
        even = jnp.arange(self.num_slices) % 2 == 0

        def choose(seed, bits, field):
            noise = logistic(seed, bits.shape, field.dtype)
            chains = (self.num_reads, self.num_slices, -1)
            drive = (weight * field + noise).reshape(chains)
            spins = (2 * bits - 1).reshape(chains)
            for turn in (even, ~even):
                neighbours = jnp.roll(spins, 1, axis=1) + jnp.roll(spins, -1, axis=1)
                drawn = jnp.where(drive + 2 * binding * neighbours > 0, 1, -1).astype(spins.dtype)
                spins = jnp.where(turn[None, :, None], drawn, spins)
            return ((1 + spins) / 2).reshape(bits.shape)

        return sweeper.sweep(state, draw_seeds(key, sweeper.shape[0]), choose)

    def bits(self, slices: _Slices, state: Any) -> Bits:
        bits = self._by_read(slices, state)
        lowest = jnp.argmin(jax.vmap(jax.vmap(slices.problem.relative_energy))(bits), axis=1)
        return jax.vmap(lambda slices, index: slices[index])(bits, lowest)

    def report(self, slices: _Slices, rows: Any, state: Any, infos: None) -> dict[str, Array]:
        return {"slices": self._by_read(slices, state)}

    def _by_read(self, slices: _Slices, state: Any) -> Bits:
        """[reads, slices, *problem.shape]."""
        shape = slices.problem.shape
        return slices.arranged.restore(state, shape).reshape(self.num_reads, self.num_slices, *shape)
