"""Breaks the package in one place at a time, and tells which broken versions the tests let pass.

    PYTHONPATH=. python tests/mutants.py [FILE ...] [--json PATH]

The table of mutations is `mutations.py`. Each runs the tests that its file names, on a copy of the package; the first
run is that of the copy unbroken. Without a FILE, such as `solvers/descent.py`, all are run. Verdicts are written to
PATH.progress as they come, so that a run that was interrupted goes on, unless the package or its tests have changed.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mutations import EQUIVALENT, MUTATIONS, TESTS

ROOT = Path(__file__).parent.parent
COPIED = ("qama_jax", "tests")
LIMIT_S = 900
PRELOAD = ["jax", "jax.numpy", "flax.nnx", "flax.linen", "scipy.special", "scipy.stats", "dimod", "pytest"]


def mutants(files):
    """Each as (file, old, new), those argued to be equivalent left out."""
    unknown = set(files) - set(MUTATIONS)
    if unknown:
        raise ValueError(f"FILE must be one of the table, got {', '.join(sorted(unknown))}")
    return [(file, *pair) for file in files or MUTATIONS for pair in MUTATIONS[file] if (file, *pair) not in EQUIVALENT]


def mutated(source, old, new, file):
    """The source with its one occurrence of `old` replaced."""
    if source.count(old) != 1:
        raise ValueError(f"{file} must hold the mutated text once, it does {source.count(old)} times: {old!r}")
    return source.replace(old, new)


def digest():
    """Of what the verdicts are about."""
    paths = sorted(path for part in COPIED for path in (ROOT / part).rglob("*.*") if path.suffix in (".py", ".npz"))
    return hashlib.sha256(b"".join(bytes(path.relative_to(ROOT)) + path.read_bytes() for path in paths)).hexdigest()


def run(files, progress=None):
    """The mutants that survive, and how many there were; `progress` is the file of verdicts, which are not asked again.

    A line is the digest, the mutant and whether it survives.
    """
    chosen, of, verdicts = mutants(files), digest(), {}
    if progress is not None and progress.exists():
        lines = [json.loads(line) for line in progress.read_text().splitlines()]
        verdicts = {tuple(mutant): survives for its, mutant, survives in lines if its == of}
    for file, pairs in MUTATIONS.items():
        for pair in pairs:
            mutated((ROOT / "qama_jax" / file).read_text(), *pair, file)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in COPIED:
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        # What a mutation does not touch is compiled once.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(copy / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        os.environ.pop("XLA_FLAGS", None)  # quick compilation, whatever called this
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        for file in dict.fromkeys(mutant[0] for mutant in chosen if mutant not in verdicts):
            if not _passes(context, copy, TESTS[file]):
                raise RuntimeError(f"the tests of {file} fail without any mutation: {' '.join(TESTS[file])}")
            path = copy / "qama_jax" / file
            source = path.read_text()
            for mutant in (mutant for mutant in chosen if mutant[0] == file and mutant not in verdicts):
                _, old, new = mutant
                path.write_text(mutated(source, old, new, file))
                started = time.monotonic()
                survives = verdicts[mutant] = _passes(context, copy, TESTS[file])
                verdict = "SURVIVES" if survives else "killed"
                print(f"{verdict:8} {time.monotonic() - started:5.0f} s  {file}: {old!r} -> {new!r}", flush=True)
                if progress is not None:
                    with progress.open("a") as lines:
                        lines.write(json.dumps([of, mutant, survives]) + "\n")
            path.write_text(source)
    return [mutant for mutant in chosen if verdicts[mutant]], len(chosen)


def _passes(context, copy, tests):
    process = context.Process(target=_run_tests, args=(copy, tests))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _run_tests(copy, tests):
    import pytest

    os.chdir(copy)
    sys.path.insert(0, str(copy))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        sys.exit(int(pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests])))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    progress = arguments.json and arguments.json.with_name(f"{arguments.json.name}.progress")
    survivors, count = run(arguments.files, progress)
    result = {
        "mutants": count,
        "killed": count - len(survivors),
        "survivors": [dict(zip(("file", "old", "new"), mutant, strict=True)) for mutant in survivors],
        "equivalent": [
            dict(zip(("file", "old", "new", "why"), (*mutant, why), strict=True)) for mutant, why in EQUIVALENT.items()
        ],
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if arguments.json:
        arguments.json.write_text(text + "\n")
        progress.unlink(missing_ok=True)
    print(text)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
