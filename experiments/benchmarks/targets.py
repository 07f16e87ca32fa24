"""Devices that need not be there: their compilers run on any machine."""

import functools
import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

_H200 = Path(__file__).with_name("h200.txtpb")


class Target(NamedTuple):
    """Four devices of a kind.

    Attributes:
      name: of the kind.
      package: the compiler's.
      topology: how the compiler names them.
      ghz: clock of a TPU, by which cycles are times.
    """

    name: str
    package: str
    topology: str
    ghz: float | None = None

    @property
    def is_tpu(self) -> bool:
        return self.package == "libtpu"

    def is_installed(self) -> bool:
        """Whether its compiler is."""
        return importlib.util.find_spec(self.package) is not None


TARGETS = (
    Target("v5e", "libtpu", "v5e:2x2", 1.5),
    Target("v6e", "libtpu", "v6e:2x2", 1.75),
    Target("H200", "jax_cuda12_plugin", "1x1x4"),
)


@functools.cache
def devices(target: Target) -> Mesh:
    """The four devices in a row, "devices" being the name of the axis."""
    if target.is_tpu:
        # The compiler alone is used: it looks for no device, no host and no metadata.
        for name, value in (
            ("TPU_SKIP_MDS_QUERY", "1"),
            ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
            ("TPU_WORKER_HOSTNAMES", "localhost"),
        ):
            os.environ.setdefault(name, value)
        topology = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
    else:
        config = {"target_config": _H200.read_text(), "topology": target.topology}
        topology = topologies.get_topology_desc("h200", "cuda", **config)
    return Mesh(np.array(topology.devices), ("devices",))


def compile_elsewhere_only() -> None:
    """Before anything else is asked of JAX: the host computes, even where other devices' packages are installed."""
    jax.config.update("jax_platforms", "cpu")
