"""Compiled programs, kept from one run of the command to the next."""

import os
import sys
from pathlib import Path

import jax


def user_cache() -> Path:
    """The folder of this command in the user's cache."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "qama-jax"


def keep_programs(directory: Path | None) -> None:
    """Lets JAX keep what it compiles in a folder.

    By default, it is that of `JAX_COMPILATION_CACHE_DIR`, else the user's cache; where that cannot be written, nothing
    is kept.

    Raises:
      ValueError: if `directory` is a file.
    """
    if directory is not None and directory.exists() and not directory.is_dir():
        raise ValueError(f"--compilation-cache: {directory} is a file; name a folder")
    if directory is None and jax.config.values["jax_compilation_cache_dir"] is None:
        try:
            directory = user_cache()
            directory.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # or there is no home
            return
        if not os.access(directory, os.W_OK):
            return
    if directory is not None:
        jax.config.update("jax_compilation_cache_dir", str(directory))
    # By default, JAX keeps only what took a second to compile; a command compiles many small programs, too.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
