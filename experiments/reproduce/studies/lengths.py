"""Table V and Figure 7: accuracy over the length, by pooling."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from experiments import paper
from experiments.reproduce.curves import ARMS, Sweep
from experiments.reproduce.study import IMAGES, Amount, Budget, Results, Run, Study, Table, make_run
from qama_jax import WindowReadout

# With them 14 × 14 patches of 2 × 2 pixels become the 196, 49, 14, 4 and 1 tokens that the paper prints. The 16 × 16
# patches of CIFAR-10 become its 256, 64, 16, 4 and 1 if what does not fill a window is left out, as average pooling
# without padding does: windows of 7 leave out the last two rows or columns, a window of 14 as many.
POOLS = ((1, 1), (2, 2), (2, 7), (7, 7), (14, 14))
_PATCH, _HEADS = 2, 2
_SIDE = {"mnist": 28, "fashion_mnist": 28, "cifar10": 32}


def runs(budget: Budget, seed: int) -> Iterable[Run]:
    """All arms at every length."""
    for dataset in IMAGES:
        for pool in reversed(POOLS):
            case, window = f"{dataset}-{pool[0]}x{pool[1]}", pooled_window(dataset, pool)
            model = {"num_heads": _HEADS, "patch_size": _PATCH, "pool": pool}
            for arm in ARMS:
                names = {"study": "lengths", "case": case, "arm": arm, "dataset": dataset}
                yield make_run(budget, Amount(5, 12_500), seed=seed, window=window, **names, **model)


def pooled_window(dataset: str, pool: tuple[int, int]) -> WindowReadout:
    """The window of 3×3 tokens and the rest of their rows, with as many selected keys as elsewhere."""
    columns = _SIDE[dataset] // _PATCH // pool[1]
    return WindowReadout(radius=columns + 1, num_keys=8 if pooled_tokens(dataset, pool) <= 64 else 16)


def pooled_tokens(dataset: str, pool: tuple[int, int]) -> int:
    """The length."""
    return math.prod(_SIDE[dataset] // _PATCH // window for window in pool)


SWEEP = Sweep(
    POOLS,
    of=lambda result: tuple(result["model"]["pool"]),
    published=paper.POOLS,
    columns={
        "pooling": lambda pool, tokens: f"{pool[0]}×{pool[1]}",
        "length": lambda pool, tokens: tokens,
        "qubits": lambda pool, tokens: _HEADS * tokens,
    },
    place=pooled_tokens,
    axis="tokens",
)


def table(results: Results) -> Table | None:
    """Beside the paper's."""
    worst = paper.POOLS["cifar10"][1, 1]
    note = (
        "Patches of 2×2 pixels, their embeddings averaged before the blocks. CIFAR-10 has 16×16 of them, which 7 and "
        "14 do not divide; its printed lengths are those of average pooling without padding, which leaves out the last "
        "two rows and columns. With one token there is nothing to attend to: softmax passes the value on, and equation "
        "(5) is 0, its one importance being normalised. Windows over 4 tokens are softmax over all. The paper loses "
        f"{worst.softmax - worst.qama:.1f} points with 256 tokens, where its abstract has {paper.LARGEST_LOSS} at most."
    )
    return SWEEP.table(results["lengths"], "Table V: best accuracy over the length", note)


def figure(results: Results, folder: Path) -> Mapping[str, Path]:
    """The same, drawn."""
    caption = "Figure 7: best accuracy over the length, mean and standard deviation over the seeds."
    return SWEEP.figure(results["lengths"], folder / "figure7.png", caption)


STUDY = Study("lengths", runs, table, figure, paper_table="V", paper_figures=(7,))
