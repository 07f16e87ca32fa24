"""The command `qama-jax`."""

from qama_jax.cli.main import main as main
