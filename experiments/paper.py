"""What the paper reports: Du et al., arXiv:2504.11083, Tables I and III to VII, Figures 4 and 5."""

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


class Best(NamedTuple):
    """Test accuracy of the best epoch, per cent."""

    softmax: float
    qama: float


# Table IV, by heads; figure 6 draws the same.
HEADS = {
    "mnist": {1: Best(96.6, 96.1), 2: Best(97.2, 95.2), 4: Best(96.9, 96.9), 8: Best(97.4, 95.9)},
    "cifar10": {1: Best(59.9, 59.3), 2: Best(60.3, 58.6), 4: Best(60.7, 58.8), 8: Best(62.0, 59.3)},
    "fashion_mnist": {1: Best(85.9, 86.1), 2: Best(86.2, 85.5), 4: Best(86.9, 86.2), 8: Best(87.7, 86.7)},
}

# Table V, by windows of the average pooling; figure 7 draws the same.
POOLS = {
    "mnist": {
        (1, 1): Best(97.6, 94.9),
        (2, 2): Best(95.3, 94.3),
        (2, 7): Best(94.6, 93.1),
        (7, 7): Best(82.4, 80.2),
        (14, 14): Best(42.1, 41.5),
    },
    "cifar10": {
        (1, 1): Best(63.0, 50.3),
        (2, 2): Best(58.4, 56.1),
        (2, 7): Best(54.9, 51.9),
        (7, 7): Best(49.0, 46.9),
        (14, 14): Best(38.9, 38.8),
    },
    "fashion_mnist": {
        (1, 1): Best(85.7, 84.5),
        (2, 2): Best(83.0, 82.8),
        (2, 7): Best(77.6, 76.5),
        (7, 7): Best(70.0, 67.8),
        (14, 14): Best(52.2, 52.2),
    },
}

# Section IV-A on the mean Δ of the two tables, per cent, in this order.
MEAN_SHARES = (3.32, 1.53)


class Mechanism(NamedTuple):
    """A row of Table VII: costs in time and memory, accuracies on CIFAR-10."""

    time: str
    space: str
    accuracies: Accuracies


# Table VII.
MECHANISMS = {
    "softmax": Mechanism("O(n²)", "O(n²)", Accuracies(61.4, 62.0)),
    "qama": Mechanism("T_sol", "O(n)", Accuracies(59.3, 59.3)),
    "longformer": Mechanism("O(nw + ng)", "O(nw + ng)", Accuracies(62.1, 62.3)),
    "bigbird": Mechanism("O(n(g + w + r))", "O(n(g + w + r))", Accuracies(60.0, 61.0)),
    "linformer": Mechanism("O(nk)", "O(nk)", Accuracies(59.2, 59.4)),
    "performer": Mechanism("O(Lmd)", "O(md + Ld + mL)", Accuracies(59.7, 60.0)),
    "reformer": Mechanism("O(n²)", "O(n)", Accuracies(62.5, 62.9)),
}
