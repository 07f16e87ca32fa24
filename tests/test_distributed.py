"""Training over several devices and processes ends as on one device, and goes on with another number of them."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from experiments.devices import batch_mesh

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "experiments", "vit_cifar.py")
MODEL = {
    "dataset": "digits",
    "train-examples": 128,
    "batch-size": 32,
    "width": 16,
    "depth": 1,
    "num-heads": 2,
    "mlp-dim": 16,
}


def start(run_dir, *options, devices=1):
    model = [f"--{name}={value}" for name, value in MODEL.items()]
    return launch(SCRIPT, *model, "--run-dir", str(run_dir), *options, devices=devices)


def launch(*command, devices=1):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = (sys.executable, *command)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*processes):
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)
    return outputs


def result(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def one_line(path, arm):
    (line,) = (line for line in map(json.loads, path.read_text().splitlines()) if line["arm"] == arm)
    return line


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def cluster_of_two():
    coordinator = f"localhost:{free_port()}"
    options = ("--distributed", "--coordinator", coordinator, "--num-processes", "2", "--process-id")
    return [(*options, str(index)) for index in range(2)]


def test_two_processes_then_one_end_as_one_device(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    both = [start(together, "--epochs", "1", *member, devices=2) for member in cluster_of_two()]
    finish(start(alone, "--epochs", "2"))
    first, second = finish(*both)
    assert "digits, qama: last" in first
    assert "digits, qama: last" not in second
    assert result(together)["device"]["count"] == 4
    finish(start(together, "--epochs", "2", "--resume"))
    ours, expected = result(together), result(alone)
    assert ours["device"]["count"] == 1
    for mine, theirs in zip(ours["epochs"], expected["epochs"], strict=True):
        for name in ("train_loss", "test_loss"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("prepared_mnist")
def test_the_reproduction_in_two_processes(tmp_path):
    def reproduce(name, *options):
        quick = ("--quick", "--table", "III", "--datasets", "mnist", "--arms", "softmax", "qama")
        folders = ("--run-dir", str(tmp_path / name), "--cache-dir", str(tmp_path / "data"))
        return launch("-m", "experiments.reproduce", *quick, *folders, *options)

    finish(reproduce("alone"))
    first, second = finish(*(reproduce("together", *member) for member in cluster_of_two()))
    assert "report.html" in first
    assert "report" not in second
    for arm in ("softmax", "qama"):
        ours, expected = (one_line(tmp_path / name / "accuracy.jsonl", arm) for name in ("together", "alone"))
        assert (ours["device"]["count"], expected["device"]["count"]) == (2, 1)
        for mine, theirs in zip(ours["epochs"], expected["epochs"], strict=True):
            np.testing.assert_allclose(mine["train_loss"], theirs["train_loss"], rtol=1e-3)


def test_batches_that_cannot_be_spread(tmp_path):
    process = start(tmp_path, "--epochs", "1", devices=5)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "batch_size=32 must be a multiple of the 5 devices" in output


def test_parts_of_batches_that_cannot_be_spread(monkeypatch):
    monkeypatch.setattr("experiments.devices.jax.devices", lambda: ["device"] * 5)
    with pytest.raises(ValueError, match="batch_size=20 / micro_batches=5 must be a multiple of the 5 devices"):
        batch_mesh(20, micro_batches=5)
    with pytest.raises(ValueError, match="batch_size=32 must be a multiple"):
        batch_mesh(32)
