"""Problems arranged for samplers, each kind in the form that is fastest for its couplings."""

import functools

import jax.numpy as jnp

from qama_jax.problems.attention import AttentionHamiltonian
from qama_jax.problems.base import Problem
from qama_jax.problems.quadratic import Quadratic
from qama_jax.sampling.blocks import Blocks
from qama_jax.sampling.sparse_sweeps import SparseSweeper, sparse_sweeper
from qama_jax.sampling.sweeps import DenseRows, Sweeper, make_rows, skew


@functools.singledispatch
def make_sweeper(problem: Problem) -> Sweeper | SparseSweeper:
    """The problem arranged for sweeps over single bits: any by its matrix, one bit per step, O(n) per flip."""
    exists = problem.clamp(jnp.ones(problem.shape, jnp.int8)).reshape(-1, 1) == 1
    rows = DenseRows.from_matrix(problem.as_matrix()[None])
    return Sweeper(rows, problem.linear.reshape(-1, 1), jnp.zeros((), problem.dtype), exists)


@make_sweeper.register
def _(problem: Quadratic) -> Sweeper | SparseSweeper:
    """Sparse problems by colours: all bits of a step at once, O(degree) per bit."""
    if problem.is_sparse:
        return sparse_sweeper(problem.as_sparse(), problem.linear)
    return make_sweeper.dispatch(Problem)(problem)


@make_sweeper.register
def _(problem: AttentionHamiltonian) -> Sweeper:
    """H bits per step: O(D) per bit in the low-rank form, O(N) in the dense one."""
    exists = skew(problem.clamp(jnp.ones(problem.shape, jnp.int8))) == 1
    return Sweeper(make_rows(problem.coupling), skew(problem.linear), problem.penalty, exists)


def make_blocks(problem: AttentionHamiltonian) -> Blocks:
    """The problem arranged for updates of all bits in two blocks, O(D) per bit in the low-rank form."""
    exists = problem.clamp(jnp.ones(problem.shape, jnp.int8)) == 1
    couplings = problem.factor()
    return Blocks(couplings.factor, problem.linear - couplings.diagonal / 2, problem.penalty, exists)
