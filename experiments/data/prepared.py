"""Data sets prepared by tensorflow-datasets, read without TensorFlow."""

import os
import socket
from pathlib import Path
from typing import Any

_NETWORK_TIMEOUT_S = 3.0
_CHUNK = 1000


class DataNotFoundError(RuntimeError):
    """The data set is neither prepared on this machine nor can it be downloaded."""


def read_columns(name: str, split: str, columns: tuple[str, ...]) -> list[list[Any]]:
    """The columns of a split, a list for each; the data set is downloaded and prepared where it is not yet.

    Args:
      name: of tensorflow-datasets, with the configuration where there are several, such as "glue/sst2".
      split: such as "train".
      columns: names of features.

    Raises:
      DataNotFoundError: if it is not prepared and cannot be downloaded; the message says what to do.
    """
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)
    import tensorflow_datasets as tfds

    data_dir = Path(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets"))
    if not any(data_dir.glob(f"{name}/*/dataset_info.json")):
        _prepare(name, data_dir)
    source = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
    values: list[list[Any]] = [[] for _ in columns]
    for start in range(0, len(source), _CHUNK):
        for example in source.__getitems__(range(start, min(start + _CHUNK, len(source)))):
            for column, column_values in zip(columns, values, strict=True):
                column_values.append(example[column])
    return values


def _prepare(name: str, data_dir: Path) -> None:
    """Downloads and prepares a data set, after making sure, within seconds, that this can work."""
    remedy = (
        f"Set TFDS_DATA_DIR to a folder that holds {name} prepared by tensorflow-datasets, "
        "or take the bundled data set, digits."
    )
    try:
        socket.create_connection(("storage.googleapis.com", 443), timeout=_NETWORK_TIMEOUT_S).close()
    except OSError as error:
        raise DataNotFoundError(f"{name} is not prepared in {data_dir}, and there is no network. {remedy}") from error
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise DataNotFoundError(
            f"{name} is not prepared in {data_dir}, and preparing it needs TensorFlow once: "
            f"pip install 'qama-jax[prepare]'. {remedy}"
        ) from error
    import tensorflow_datasets as tfds

    tfds.builder(name, data_dir=data_dir, file_format="array_record").download_and_prepare()
