"""Receiver operating characteristic of a binary classifier, by scikit-learn."""

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

_MOST_POINTS = 200


def roc(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """AUC and curve of the logits [n, 2]; of a curve of more points than 200, so many, evenly spaced along it."""
    scores = logits[:, 1] - logits[:, 0]
    false_positives, true_positives, _ = roc_curve(labels, scores)
    points = np.unique(np.linspace(0, len(false_positives) - 1, _MOST_POINTS).astype(int))
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "false_positive_rate": false_positives[points].tolist(),
        "true_positive_rate": true_positives[points].tolist(),
    }
