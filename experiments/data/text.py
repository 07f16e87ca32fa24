"""Text data sets as token ids, with a vocabulary of subwords learned from the training split alone."""

import dataclasses
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece

from experiments.data.dataset import Dataset, cached
from experiments.data.prepared import read_columns

_PADDING = 0


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where the texts are: name, column and test split in tensorflow-datasets. The test labels of GLUE are secret."""

    name: str
    column: str
    test_split: str


_SOURCES = {
    "imdb": _Source("imdb_reviews/plain_text", "text", "test"),
    "sst2": _Source("glue/sst2", "sentence", "validation"),
}
NAMES = tuple(_SOURCES)


def load_text(name: str, cache_dir: Path, *, vocabulary: int, length: int) -> Dataset:
    """Loads a data set of token ids uint16 [n, length], 0 for padding.

    Longer texts are cut. The vocabulary is learned by sentencepiece (BPE, lower case) on the training split. It and the
    ids are cached in `cache_dir`.

    Args:
      name: one of `NAMES`.
      cache_dir: folder of the caches.
      vocabulary: number of different ids, padding and unknown included.
      length: ids of a text.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
      ValueError: if there is no data set of that name.
    """
    if name not in _SOURCES:
        raise ValueError(f"dataset must be one of {', '.join(NAMES)}, got {name!r}")
    path = cache_dir / f"text-{name}-{vocabulary}-{length}.npz"
    return cached(path, lambda: _encode(read_texts(name), path.with_suffix(".model"), vocabulary, length))


class Texts(NamedTuple):
    """Texts and int32 labels of both splits."""

    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray


def read_texts(name: str) -> Texts:
    """The texts of one of `NAMES`, without line breaks.

    Raises:
      DataNotFoundError: if they are not prepared and cannot be downloaded; the message says what to do.
    """
    source = _SOURCES[name]
    columns = []
    for split in ("train", source.test_split):
        raw, labels = read_columns(source.name, split, (source.column, "label"))
        texts = [" ".join(text.decode().replace("<br />", " ").split()) for text in raw]
        columns += [texts, np.asarray(labels, np.int32)]
    return Texts(*columns)


def _encode(texts: Texts, model_path: Path, vocabulary: int, length: int) -> Dataset:
    tokenizer = _learn(texts.train_texts, vocabulary)
    model_path.parent.mkdir(parents=True, exist_ok=True)
    model_path.write_bytes(tokenizer.serialized_model_proto())

    def encode(split: list[str]) -> np.ndarray:
        ids = np.full((len(split), length), _PADDING, np.uint16)
        for row, tokens in zip(ids, tokenizer.encode(split), strict=True):
            row[: len(tokens)] = tokens[:length]
        return ids

    return Dataset(encode(texts.train_texts), texts.train_labels, encode(texts.test_texts), texts.test_labels)


def _learn(texts: list[str], vocabulary: int) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        normalization_rule_name="nmt_nfkc_cf",
        max_sentence_length=max(len(text.encode()) for text in texts) + 1,
        pad_id=_PADDING,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,  # more would make the vocabulary depend on the machine
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
