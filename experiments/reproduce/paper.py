"""What the paper reports: Du et al., arXiv:2504.11083, Tables I, III and VI, Figures 4 and 5."""

from typing import NamedTuple


class Accuracies(NamedTuple):
    """Test accuracy, per cent."""

    last: float
    best: float


# Table III, 50 epochs.
ACCURACY = {
    "mnist": {"softmax": Accuracies(96.9, 97.4), "qama": Accuracies(95.3, 95.9)},
    "fashion_mnist": {"softmax": Accuracies(86.7, 87.7), "qama": Accuracies(86.1, 86.7)},
    "cifar10": {"softmax": Accuracies(61.4, 62.0), "qama": Accuracies(59.3, 59.3)},
    "imdb": {"softmax": Accuracies(92.6, 92.6), "qama": Accuracies(92.6, 92.8)},
    "sst2": {"softmax": Accuracies(89.2, 90.4), "qama": Accuracies(87.5, 89.6)},
}

# Largest loss of QAMA against softmax that the paper reports, points.
LARGEST_LOSS = 2.7

# Table I.
SETTINGS = {
    "optimizer": "Adam",
    "learning rate": "1e-3",
    "batch": "64; 128",
    "epochs": "50",
    "patch": "4×4",
    "heads": "8 (images), 1 (texts)",
    "tokens of a text": "512",
    "qubits": "392 (28×28 images), 512 (32×32 images and texts)",
}

# Figure 4: energy of the image and standard deviation of the features, whose mean is 0.
ENERGY, FEATURE_DEVIATION = -143.88, 0.51
# Figure 5: energy found, and mean energy after the flip of one bit.
SURFACE_ENERGY, SURFACE_FLIPPED_ENERGY = -1438.95, -1425.33

# Table VI, MNIST: on the CPQC-550 and in simulation, seconds of a sample.
HARDWARE = {
    "cim": {"accuracy": 0.975, "mean_label_output": 0.9664, "seconds": 162e-6},
    "simulation": {"accuracy": 0.975, "mean_label_output": 0.9647, "seconds": 402e-3},
}
