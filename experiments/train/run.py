"""A training run: everything that defines its result, and how it is carried out."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from experiments.data import images, sequences, text
from experiments.data.dataset import Dataset
from experiments.models import baselines
from experiments.models.block import AttentionFactory
from experiments.models.controls import SELECTIONS, control
from experiments.models.linear_attention import LinearAttention
from experiments.models.parameters import count_parameters
from experiments.models.simple_vit import SimpleViT
from experiments.models.text_transformer import TextTransformer
from experiments.train import augment
from experiments.train.loop import TrainingSettings, train
from qama_jax import EnergyReadout, QAMAAttention, Readout, SimulatedBifurcation
from qama_jax.layers.arguments import layer_solver
from qama_jax.solvers import Solver

DATASETS = (*images.NAMES, *text.NAMES, *sequences.NAMES)
DTYPES = ("float32", "bfloat16")
# Besides QAMA and the baselines.
LAYERS: dict[str, AttentionFactory] = {"softmax": nnx.MultiHeadAttention, "linear": LinearAttention, "none": None}
ATTENTION = ("qama", *LAYERS, *baselines.NAMES)


@dataclasses.dataclass(frozen=True)
class Run:
    """One model on one data set. A model with other attention or none ignores the settings of QAMA.

    Args:
      dataset: one of `DATASETS`: images for `SimpleViT`, texts and other sequences of tokens for `TextTransformer`.
      attention: one of `ATTENTION`.
      training: seed, epochs, batch size, learning rate.
      width: features of a token.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_dim: hidden features of the perceptrons.
      patch_size: side of the patches of an image.
      pool: rows and columns of patches that are averaged before the blocks, see `SimpleViT`.
      vocabulary: number of token ids of a text; other sequences have their own.
      length: tokens of a sequence; longer texts are cut.
      train_examples: the first so many; None for all.
      test_examples: the first so many; None for all.
      solver: of QAMA; None for the layer's own, of fewer steps in training.
      readout: of QAMA.
      selection: one of `SELECTIONS`; all but "annealed" are controls, in which nothing is annealed.
      rho_0: ρ₀ of QAMA.
      gamma_0: γ₀ of QAMA.
      importance_scale: standard deviation of W_ε at the start, in QAMA.
      baseline: its settings, where `attention` is one; None for those of the paper's Table VII.
      dtype: one of `DTYPES`, in which the blocks compute; parameters are float32.
      study: what the run is for.
      case: the row of the study: a data set and what its model has of its own.
      arm: what is compared within the case; with the seed, the four names are those of the run.
    """

    dataset: str
    attention: str
    training: TrainingSettings
    width: int = 64
    depth: int = 1
    num_heads: int = 8
    mlp_dim: int = 256
    patch_size: int = 4
    pool: tuple[int, int] = (1, 1)
    vocabulary: int = 8000
    length: int = 512
    train_examples: int | None = None
    test_examples: int | None = None
    solver: Solver | None = dataclasses.field(default_factory=SimulatedBifurcation)
    readout: Readout = dataclasses.field(default_factory=EnergyReadout)
    selection: str = "annealed"
    rho_0: float = 0.16
    gamma_0: float = 0.8
    importance_scale: float = 0.05
    baseline: baselines.Baseline | None = None
    dtype: str = "float32"
    study: str = ""
    case: str = ""
    arm: str = ""

    def __post_init__(self):
        for name, choices in (("attention", ATTENTION), ("selection", SELECTIONS), ("dtype", DTYPES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.training.augment and self.dataset not in augment.DATASETS:
            raise ValueError(
                f"augment is for {', '.join(augment.DATASETS)}, whose mirror images are of the same class; leave it "
                f"out for {self.dataset}"
            )

    @property
    def name(self) -> str:
        """For a folder and for messages."""
        return f"{self.study}/{self.case}_{self.arm}_seed{self.training.seed}"

    @property
    def has_tokens(self) -> bool:
        """Whether the data set is of sequences of token ids, not of images."""
        return self.dataset in text.NAMES or self.dataset in sequences.NAMES

    def load(self, cache_dir: Path) -> Dataset:
        """The data.

        Raises:
          DataNotFoundError: if they are not there and cannot be downloaded.
          ValueError: if there is no data set of that name.
        """
        if self.dataset in sequences.NAMES:
            data = sequences.load_sequences(self.dataset, cache_dir, self.length)
        elif self.dataset in text.NAMES:
            data = text.load_text(self.dataset, cache_dir, vocabulary=self.vocabulary, length=self.length)
        else:
            data = images.load_images(self.dataset, cache_dir)
        return data.take(self.train_examples, self.test_examples)

    def model_maker(self, data: Dataset) -> Callable[[nnx.Rngs], nnx.Module]:
        """Makes the model of this run for these data from random streams."""
        return functools.partial(_make_model, self._model_settings(data), self._attention(data))

    def header(self, data: Dataset) -> dict[str, Any]:
        """What the result says of the run: whatever defines it, see `TrainingSettings.described`."""
        shapes = nnx.eval_shape(lambda: self.model_maker(data)(nnx.Rngs(0)))
        qama = {
            "solver": self._solver_in_words(),
            "readout": repr(self.readout),
            "selection": self.selection,
            "rho_0": self.rho_0,
            "gamma_0": self.gamma_0,
            "importance_scale": self.importance_scale,
        }
        return {
            "study": self.study,
            "case": self.case,
            "arm": self.arm,
            "seed": self.training.seed,
            "settings": self.training.described(),
            "dataset": self.dataset,
            "attention": self.attention,
            "train_examples": len(data.train_labels),
            "test_examples": len(data.test_labels),
            "tokens": self.num_tokens(data),
            "model": self._model_settings(data),
            "parameters": count_parameters(shapes),
            "qama": qama if self.attention == "qama" else None,
            "baseline": repr(self._baseline(data)) if self.attention in baselines.NAMES else None,
        }

    def num_tokens(self, data: Dataset) -> int:
        """Length of the token sequence."""
        shape = data.train_inputs.shape
        if self.has_tokens:
            return shape[1]
        return math.prod(side // self.patch_size // window for side, window in zip(shape[1:3], self.pool, strict=True))

    def execute(
        self,
        data: Dataset,
        *,
        run_dir: Path,
        result_path: Path,
        resume: bool,
        on_epoch: Callable[[], None] = lambda: None,
    ) -> tuple[dict[str, Any], nnx.Module]:
        """Trains what is not trained yet; see `train`."""
        return train(
            self.model_maker(data),
            data,
            self.training,
            run_dir=run_dir,
            result_path=result_path,
            header=self.header(data),
            resume=resume,
            on_epoch=on_epoch,
        )

    def _model_settings(self, data: Dataset) -> dict[str, Any]:
        common = {
            "num_classes": data.num_classes,
            "width": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
        }
        if self.dtype != "float32":
            common["dtype"] = self.dtype
        if self.has_tokens:
            of_task = self.dataset in sequences.NAMES
            return {"vocabulary": sequences.vocabulary_of(self.dataset) if of_task else self.vocabulary} | common
        mean, deviation = data.channel_moments
        images_only = {
            "image_shape": data.train_inputs.shape[1:],
            "patch_size": self.patch_size,
            "pool": self.pool,
            "pixel_mean": mean,
            "pixel_deviation": deviation,
        }
        return images_only | common

    def _solver_in_words(self) -> str:
        if self.solver is None:
            return f"{layer_solver(None, False)!r}, in evaluation {layer_solver(None, True)!r}"
        return repr(self.solver)

    def _baseline(self, data: Dataset) -> baselines.Baseline:
        if self.baseline is not None:
            return self.baseline
        return baselines.make_baseline(self.attention, tokens=self.num_tokens(data), seed=self.training.seed)

    def _attention(self, data: Dataset) -> AttentionFactory:
        if self.attention in LAYERS:
            return LAYERS[self.attention]
        if self.attention in baselines.NAMES:
            return self._baseline(data).layer
        solver, readout = self.solver, self.readout
        if self.selection != "annealed":
            solver, readout = control(self.selection, readout)
        return functools.partial(
            QAMAAttention,
            solver=solver,
            readout=readout,
            rho_0=self.rho_0,
            gamma_0=self.gamma_0,
            importance_init=nnx.initializers.normal(self.importance_scale),
            keep_rngs=False,
        )


def _make_model(settings: dict[str, Any], attention: AttentionFactory, rngs: nnx.Rngs) -> nnx.Module:
    model = TextTransformer if "vocabulary" in settings else SimpleViT
    return model(**settings, attention=attention, rngs=rngs)
