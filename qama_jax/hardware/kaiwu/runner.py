"""Run by `InterpreterBridge` in the interpreter of the Kaiwu SDK: solves one matrix on the machine.

    python runner.py settings.json matrix.npy spins.npy

The settings are those of `make_kaiwu_optimizer`, without credentials, which come from the environment, and
`checkpoint_dir`, a directory in which the SDK keeps what it has submitted. Python 3.10 and NumPy; not part of the
package that imports it, whose modules must not shadow those of the SDK.
"""

import json
import runpy
import sys
import time
from pathlib import Path


def main(settings_path: str, matrix_path: str, spins_path: str) -> None:
    """Reads the settings and the matrix, waits for the answer and writes it."""
    import kaiwu
    import numpy as np

    settings = json.loads(Path(settings_path).read_text(encoding="utf-8"))
    if "checkpoint_dir" in settings:
        # The community edition of the SDK, which may be what a type checker sees, has neither `common` nor `cim`.
        kaiwu.common.CheckpointManager.save_dir = settings.pop("checkpoint_dir")  # pyright: ignore[reportAttributeAccessIssue]
    make_kaiwu_optimizer = runpy.run_path(str(Path(__file__).with_name("factory.py")))["make_kaiwu_optimizer"]
    licence = getattr(kaiwu, "license", None)
    optimizer = make_kaiwu_optimizer(
        kaiwu.cim.CIMOptimizer,  # pyright: ignore[reportAttributeAccessIssue]
        init_licence=None if licence is None else licence.init,
        **settings,
    )
    matrix = np.load(matrix_path, allow_pickle=False)
    # In this process: another one might not know the task, and submit it again.
    while (spins := optimizer.solve(matrix)) is None:
        time.sleep(60 * settings.get("interval", 1))
    np.save(spins_path, np.asarray(spins), allow_pickle=False)


if __name__ == "__main__":
    sys.path.pop(0)  # this directory, see above
    main(*sys.argv[1:])
