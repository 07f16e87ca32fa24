"""Where accuracy is lost or won: MNIST, where QAMA is behind softmax, with one setting changed at a time."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from experiments.attention_arms import ARMS
from experiments.reproduce.spread import last_and_best, training_of
from experiments.reproduce.study import Amount, Budget, Results, Run, Study, Table, make_run
from qama_jax import SimulatedBifurcation


class Factor(NamedTuple):
    """A change of one setting from the defaults of QAMA, and what tables call it."""

    label: str
    changes: dict[str, Any]


FACTORS = {
    "default": Factor("QAMA, defaults", {}),
    "softmax": Factor("softmax", {"attention": "softmax"}),
    "none": Factor("no attention", {"attention": "none"}),
    "reads4": Factor("best of 4 reads", {"solver": SimulatedBifurcation(num_reads=4)}),
    "scale001": Factor("W_ε scale 0.01", {"importance_scale": 0.01}),
    "scale025": Factor("W_ε scale 0.25", {"importance_scale": 0.25}),
    "rho004": Factor("ρ₀ = 0.04", {"rho_0": 0.04}),
    "rho064": Factor("ρ₀ = 0.64", {"rho_0": 0.64}),
    "gamma0": Factor("γ₀ = 0", {"gamma_0": 0.0}),
    "depth2": Factor("2 blocks", {"depth": 2}),
    "depth2_softmax": Factor("2 blocks, softmax", {"depth": 2, "attention": "softmax"}),
}


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """One for each factor, which is its arm."""
    names = {"study": "factors", "case": "mnist", "dataset": "mnist"}
    for arm, factor in FACTORS.items():
        yield make_run(budget, Amount(5, 12_500), arm=arm, seed=seed, layer=ARMS["qama"], **(names | factor.changes))


def table(results: Results) -> Table | None:
    """Accuracy with each factor."""
    rows = []
    for arm, factor in FACTORS.items():
        own = [result for result in results["factors"] if result["arm"] == arm]
        if own:
            rows.append(f"{factor.label} | {last_and_best(own)}")
    title = "Factors: MNIST with one setting changed at a time"
    header = "QAMA with one change | last epoch | best epoch"
    return Table.of(header, rows, title, training_of(results["factors"])) if rows else None


STUDY = Study("factors", runs, table)
