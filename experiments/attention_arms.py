"""The attention layers that are compared, and the controls."""

import dataclasses
from typing import Any, NamedTuple

from qama_jax import LinearReadout, MixedReadout, SelectedKeysReadout, WindowReadout


class Arm(NamedTuple):
    """An attention layer.

    Attributes:
      label: what tables call it.
      attention: see `experiments.train.run.Run`.
      readout: of QAMA: "energy", "mixed", "window", "window-alone", "keys" (as many as the window's selected keys) or
        "linear".
      selection: see `experiments.train.run.Run`.
      few_steps: whether QAMA trains with the few steps of the layer's default, and not with those of evaluation.
    """

    label: str
    attention: str
    readout: str = "energy"
    selection: str = "annealed"
    few_steps: bool = False

    def settings(self, window: WindowReadout) -> dict[str, Any]:
        """Of a run whose tokens have that window."""
        readouts = {
            "mixed": MixedReadout(window.radius, window.num_keys),
            "window": window,
            "window-alone": dataclasses.replace(window, num_keys=0),
            "keys": SelectedKeysReadout(window.num_keys),
            "linear": LinearReadout(),
        }
        readout = {} if self.readout == "energy" else {"readout": readouts[self.readout]}
        solver = {"solver": None} if self.few_steps else {}
        return {"attention": self.attention, "selection": self.selection} | readout | solver


ARMS = {
    "none": Arm("none", "none"),
    "linear": Arm("linear attention", "linear"),
    "softmax": Arm("softmax", "softmax"),
    "qama": Arm("QAMA as published, energies", "qama"),
    "qama-few": Arm("QAMA as published, few steps in training", "qama", few_steps=True),
    "qama-descent": Arm("control: energies of the selection of steepest descent", "qama", selection="descent"),
    "qama-field": Arm("control: energies of the selection of one field", "qama", selection="field"),
    "qama-importance": Arm("control: energies of the tokens of positive importance", "qama", selection="importance"),
    "qama-random": Arm("control: energies of random tokens", "qama", selection="random"),
    "qama-all": Arm("control: energies of all tokens", "qama", selection="all"),
    "mixed": Arm("QAMA, window and selected keys in a learned mixture", "qama", "mixed"),
    "mixed-descent": Arm("control: the mixture with keys of steepest descent", "qama", "mixed", "descent"),
    "mixed-importance": Arm("control: the mixture with keys of largest importance", "qama", "mixed", "importance"),
    "mixed-random": Arm("control: the mixture with random keys", "qama", "mixed", "random"),
    "window": Arm("QAMA, window and selected keys in one softmax", "qama", "window"),
    "window-few": Arm("QAMA, window, few steps in training", "qama", "window", few_steps=True),
    "window-alone": Arm("control: window alone, no selected key", "qama", "window-alone"),
    "window-descent": Arm("control: window and keys of steepest descent", "qama", "window", "descent"),
    "window-field": Arm("control: window and keys of one field", "qama", "window", "field"),
    "window-importance": Arm("control: window and keys of largest importance", "qama", "window", "importance"),
    "window-random": Arm("control: window and random keys", "qama", "window", "random"),
    "keys": Arm("QAMA, selected keys", "qama", "keys"),
    "keys-descent": Arm("control: keys of steepest descent", "qama", "keys", "descent"),
    "keys-field": Arm("control: keys of one field", "qama", "keys", "field"),
    "keys-importance": Arm("control: keys of largest importance", "qama", "keys", "importance"),
    "keys-random": Arm("control: random keys", "qama", "keys", "random"),
    "gated-linear": Arm("QAMA, linear attention over gated keys", "qama", "linear"),
    "gated-linear-importance": Arm(
        "control: linear attention over keys gated by importance", "qama", "linear", "importance"
    ),
}

# Of Table VII, besides.
BASELINES = {
    "longformer": Arm("Longformer", "longformer"),
    "bigbird": Arm("BigBird", "bigbird"),
    "linformer": Arm("Linformer", "linformer"),
    "performer": Arm("Performer", "performer"),
    "reformer": Arm("Reformer", "reformer"),
}

# Of each data set: on images with patches of 4×4, 3×3 patches and the rest of their rows; on texts a few words.
WINDOWS = {
    "mnist": WindowReadout(radius=8, num_keys=8),
    "fashion_mnist": WindowReadout(radius=8, num_keys=8),
    "cifar10": WindowReadout(radius=9, num_keys=8),
    "imdb": WindowReadout(radius=16, num_keys=32),
    "sst2": WindowReadout(radius=8, num_keys=8),
}
# Of long sequences: 3×3 pixels of images of 32 columns, and the rest of their rows.
LONG_WINDOW = WindowReadout(radius=33, num_keys=32)
