"""The baselines of the paper's Table VII by their names."""

from experiments.models.bigbird import BigBird
from experiments.models.linformer import Linformer
from experiments.models.longformer import Longformer
from experiments.models.performer import Performer
from experiments.models.reformer import Reformer

Baseline = Longformer | BigBird | Linformer | Performer | Reformer

NAMES = ("longformer", "bigbird", "linformer", "performer", "reformer")


def make_baseline(name: str, *, tokens: int, seed: int) -> Baseline:
    """One of `NAMES` for sequences of so many tokens, its random choices drawn from the seed.

    The other settings are the defaults, sized for the 64 tokens of the table: Longformer sees as many keys as the
    window read-out of QAMA there, the others between a quarter and all of them.
    """
    if name == "longformer":
        return Longformer()
    if name == "linformer":
        return Linformer(tokens)
    return {"bigbird": BigBird, "performer": Performer, "reformer": Reformer}[name](seed=seed)
