"""What it costs solvers that TPUs round the operands of their products to bfloat16.

    python -m experiments.benchmarks.rounding

Solvers that relax the bits ask for couplings in the precision that is fastest, which on TPUs is this one; energies and
descent are exact everywhere. Both arms solve the same problems with the same random numbers. The gap of a problem is
(E - E_ref)/|E_ref|, E_ref the lowest energy that any run of this benchmark finds, 64 reads of 200 steps among them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.benchmarks import solver as unrounded
from experiments.benchmarks.harness import make_parser, write_rows
from experiments.result_files import load
from experiments.tables import Table
from qama_jax import AttentionHamiltonian, CoherentIsingMachine
from qama_jax.problems.base import register_pytree
from qama_jax.problems.coupling import DenseCoupling

# (heads, tokens, head_dim): number of problems. The first has its couplings as matrices, the others by factors.
SHAPES = {(2, 64, 32): 64} | unrounded.SHAPES
SOLVERS = {
    **{f"`SimulatedBifurcation`, {name}": solver for name, solver in unrounded.SOLVERS.items()},
    "`CoherentIsingMachine`": CoherentIsingMachine(),
}
_BFLOAT16 = {"exponent_bits": 8, "mantissa_bits": 7}
_KEYS = 4


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class RoundedHamiltonian(AttentionHamiltonian):
    """A Hamiltonian of valid tokens that couples relaxed bits as TPUs do: sums are in float32, operands are not."""

    def couple_roughly(self, x: Float[Array, "heads tokens"]) -> Float[Array, "heads tokens"]:
        coupling = self.coupling
        if isinstance(coupling, DenseCoupling):
            coupled = _product("hm,hmn->hn", x, coupling.matrix)
        else:
            projection = _product("hd,hde->he", _product("hn,hdn->hd", x, coupling.query), coupling.gram)
            coupled = _product("hd,hdn->hn", projection, coupling.query)
            coupled -= coupling.shift * jnp.sum(x, axis=-1, keepdims=True) + coupling.curvature * x
        return coupled - self.penalty * (jnp.sum(x, axis=0, keepdims=True) - x)


def _product(subscripts: str, *operands: Float[Array, "..."]) -> Float[Array, "..."]:
    rounded = (jax.lax.reduce_precision(operand, **_BFLOAT16) for operand in operands)
    return jnp.einsum(subscripts, *rounded, precision=jax.lax.Precision.HIGHEST)


def rounded(problem: AttentionHamiltonian) -> RoundedHamiltonian:
    """The same problem, or batch of problems, as such a device sees it."""
    return RoundedHamiltonian(*(getattr(problem, field.name) for field in dataclasses.fields(problem)))


def measure(shape: tuple[int, int, int], count: int, seed: int) -> list[dict[str, Any]]:
    """Gaps of each solver with both precisions."""
    problems = unrounded.random_problems(shape, count, seed)
    arms = {"float32": problems, "bfloat16": rounded(problems)}
    keys = jax.random.split(jax.random.key(seed), (_KEYS + 1, count))
    energies = {
        (name, arm): np.stack([unrounded.solve_each(keys[i], seen, solver).energy for i in range(_KEYS)])
        for name, solver in SOLVERS.items()
        for arm, seen in arms.items()
    }
    long = [unrounded.solve_each(keys[-1], seen, unrounded.LONG).energy for seen in arms.values()]
    reference = np.min([*long, *(found.min(0) for found in energies.values())], axis=0)
    rows = []
    for name in SOLVERS:
        gaps = {arm: ((energies[name, arm] - reference) / np.abs(reference)).mean(0) for arm in arms}
        change = gaps["bfloat16"] - gaps["float32"]
        row = {"shape": list(shape), "solver": name, "problems": count}
        row |= {f"mean_gap_{arm}": float(gap.mean()) for arm, gap in gaps.items()}
        error = change.std(ddof=1) / np.sqrt(count)
        rows.append(row | {"change": float(change.mean()), "standard_error": float(error)})
    return rows


def table() -> Table:
    """Gap with both precisions, and the mean of the differences."""
    rows = [
        f"{tuple(row['shape'])} | {row['solver']} | {row['problems']} | {row['mean_gap_float32']:.2%} | "
        f"{row['mean_gap_bfloat16']:.2%} | {row['change']:+.3%} ± {row['standard_error']:.3%}"
        for row in load("benchmark_rounding")["rows"]
    ]
    header = "(H, N, D) | solver | problems | mean gap, float32 | operands in bfloat16 | change ± standard error"
    return Table.of(header, rows)


TABLES = {"rounding": table}


def main() -> None:
    """Runs all and writes the result file."""
    options = make_parser(__doc__, "benchmark_rounding.json", seed=0).parse_args()
    rows = (row for shape, count in SHAPES.items() for row in measure(shape, count, options.seed))
    write_rows(options.result, {"settings": {"seed": options.seed}}, rows)


if __name__ == "__main__":
    main()
