"""All devices of all processes: a batch is spread over them, everything else is on each of them."""

import argparse
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_BATCH = "batch"


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Options by which several processes find each other."""
    parser.add_argument("--distributed", action="store_true", help="this is one of several processes")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0 (default: what the cluster says)")
    parser.add_argument("--num-processes", type=int, help="how many there are (default: what the cluster says)")
    parser.add_argument("--process-id", type=int, help="which this is, from 0 (default: what the cluster says)")


def join_cluster(options: argparse.Namespace) -> None:
    """Before anything else is asked of JAX: makes one of the processes, where the options say so."""
    if options.distributed:
        jax.distributed.initialize(options.coordinator, options.num_processes, options.process_id)


def batch_mesh(batch_size: int, micro_batches: int = 1) -> Mesh:
    """All devices in a row.

    Args:
      batch_size: examples of a step of the optimiser.
      micro_batches: parts of a batch, one after the other.

    Raises:
      ValueError: if a part of a batch cannot be spread evenly over them.
    """
    devices = jax.devices()
    if batch_size // micro_batches % len(devices):
        part = "" if micro_batches == 1 else f" / micro_batches={micro_batches}"
        raise ValueError(
            f"batch_size={batch_size}{part} must be a multiple of the {len(devices)} devices; change it, or make fewer "
            "devices visible"
        )
    return Mesh(np.array(devices), (_BATCH,))


def on_all(mesh: Mesh, tree: Any) -> Any:
    """A copy of host or device arrays, which all processes have equal, on every device."""
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            # Between processes, numbers alone can be placed.
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        return jax.device_put(np.asarray(leaf), everywhere)

    return jax.tree.map(place, tree)


def spread(mesh: Mesh, array: jax.Array) -> jax.Array:
    """Within a compiled function: the array over the devices, along its leading axis."""
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, PartitionSpec(_BATCH)))


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Within a compiled function: the arrays whole on every device."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def is_writer() -> bool:
    """Whether this process is the one that writes result files and talks to the user."""
    return jax.process_index() == 0


def of_first(value: float) -> float:
    """The number that process 0 has, in all processes, so that they decide alike."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def wait_for_all() -> None:
    """Returns when every process has come here, so that all see the files that were written before."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("files")
