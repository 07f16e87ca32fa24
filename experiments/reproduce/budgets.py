"""How much the runs of a study may train."""

from typing import NamedTuple

IMAGES = ("mnist", "fashion_mnist", "cifar10")
TEXTS = ("imdb", "sst2")
DATASETS = (*IMAGES, *TEXTS)


class Amount(NamedTuple):
    """How much a run trains.

    Attributes:
      epochs: over the training examples.
      train_examples: the first so many, None for all.
      test_examples: the first so many, None for all.
    """

    epochs: int
    train_examples: int | None = None
    test_examples: int | None = None


class Budget(NamedTuple):
    """How long runs are, equal for all arms.

    Attributes:
      amount: of every run; None for what the study has set for two CPU cores.
      lengths: tokens of a text of each data set.
      minutes: of training, of the runs that compare attention at equal time.
    """

    amount: Amount | None
    lengths: dict[str, int]
    minutes: float

    def of(self, reduced: Amount) -> Amount:
        """The amount of a run, for which its study has set a reduced one."""
        return self.amount or reduced


# No sentence of SST-2 has more tokens than 72; of the reviews of IMDB, a tenth is cut at 512.
_LENGTHS = {"imdb": 512, "sst2": 72}

BUDGETS = {
    # The paper's.
    "paper": Budget(Amount(50), _LENGTHS, 60),
    # On two CPU cores about two hours a table, and for Tables IV, V and VII no more than minutes a run.
    "reduced": Budget(None, _LENGTHS, 20),
    # Minutes: whether everything works, not how well.
    "quick": Budget(Amount(1, 1_280, 512), {"imdb": 64, "sst2": 32}, 0.02),
}
