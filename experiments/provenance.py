"""What is needed to trust and repeat a figure."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("qama-jax", "jax", "jaxlib", "flax", "optax", "numpy")
_ROOT = Path(__file__).parent.parent


def provenance() -> dict[str, Any]:
    """Command, commit, versions and device of this process."""
    device = jax.devices()[0]
    return {
        "command": " ".join(["python", _program(), *map(_relative, sys.argv[1:])]),
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "cpu_cores": os.cpu_count(),
    }


def _program() -> str:
    """`-m` and the module, or the script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return _relative(sys.argv[0]) if spec is None else f"-m {spec.name.removesuffix('.__main__')}"


def _relative(argument: str) -> str:
    path = Path(argument)
    return str(path.relative_to(_ROOT)) if path.is_absolute() and path.is_relative_to(_ROOT) else argument


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _commit() -> str | None:
    """The commit at the start, with a + where tracked files have changed since; None outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
