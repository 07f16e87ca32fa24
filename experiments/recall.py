"""Associative recall with causal attention: is what stood beside a key far back remembered?

    python -m experiments.recall --attention qama --kind groups

Result and checkpoints are in the run directory; `--resume` continues there. With `--results FILE` the result is also a
line of that file, and a run whose line is there already is not repeated.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.causal_arms import CAUSAL_ARMS, MemorySizes
from experiments.data.recall import KINDS, Recall
from experiments.models.language_model import LanguageModel
from experiments.reproduce.spread import mean_and_spread
from experiments.result_files import RESULTS, Result, ResultLines
from experiments.tables import Table
from experiments.train.language import LanguageSettings, Task, predict, train_unless_done

_FILE = RESULTS / "recall.jsonl"
_MODEL = {"width": 64, "depth": 1, "num_heads": 2, "mlp_dim": 128}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    arms = "; ".join(f"{name}: {arm.label}" for name, arm in CAUSAL_ARMS.items())
    parser.add_argument("--attention", choices=CAUSAL_ARMS, default="qama", help=arms)
    parser.add_argument("--kind", choices=KINDS, default="pairs", help="groups: what is asked for depends on others")
    parser.add_argument("--blocks", type=int, default=Recall.blocks, help="before the questions at the end")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--steps-per-test", type=int, default=500)
    parser.add_argument("--test-sequences", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run-dir", type=Path, help="(default: runs/recall-KIND-BLOCKS-ATTENTION-seedSEED)")
    parser.add_argument("--results", type=Path, help="file of results, a line a run")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the run directory")
    return parser.parse_args(arguments)


def make_task(recall: Recall, settings: LanguageSettings) -> Task:
    """The answers to the questions; test sequences have a seed of their own."""
    ids, answers, blocks = recall.draw(jax.random.fold_in(jax.random.key(0), 1), settings.test_texts)
    asked, ends = np.asarray(answers >= 0), np.arange(recall.length) >= recall.blocks * recall.stride
    batches = [slice(first, first + settings.batch_size) for first in range(0, len(ids), settings.batch_size)]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return recall.draw(key, settings.batch_size)[:2]

    def test(graph: nnx.GraphDef, params: nnx.State) -> dict[str, Any]:
        said = np.concatenate([jnp.argmax(predict(graph, params, ids[batch]), axis=-1) for batch in batches])
        right = np.asarray(said == answers)
        far = right[:, ends]
        return {
            "near_accuracy": float(right[asked & ~ends].mean()),
            "accuracy": [float(far[blocks == block].mean()) for block in range(recall.blocks)],
        }

    return Task(jax.tree_util.Partial(draw), test)


def run(options: argparse.Namespace) -> Result | None:
    """Trains one model; None where the results have it already."""
    recall = Recall(options.kind, options.blocks)
    # A chunk is a block with its questions, and a memory has room for all that is asked for at the end.
    sizes = MemorySizes(recall.stride, recall.stride, recall.asked, recall.blocks * recall.asked)
    attention = CAUSAL_ARMS[options.attention].make(sizes)

    def make_model(rngs: nnx.Rngs) -> LanguageModel:
        return LanguageModel(**_MODEL, attention=attention, vocabulary=recall.vocabulary, rngs=rngs)

    settings = LanguageSettings(
        options.seed,
        options.steps,
        options.batch_size,
        recall.length,
        options.learning_rate,
        options.test_sequences,
        options.steps_per_test,
    )
    header = {
        "kind": options.kind,
        "blocks": options.blocks,
        "attention": options.attention,
        "seed": options.seed,
        "model": _MODEL,
        "memory": None if options.attention == "softmax" else sizes._asdict(),
    }
    name = f"recall-{options.kind}-{options.blocks}-{options.attention}-seed{options.seed}"
    done = train_unless_done(
        make_model,
        lambda: make_task(recall, settings),
        settings,
        header=header,
        run_dir=options.run_dir or Path("runs") / name,
        results=None if options.results is None else _lines(options.results),
        resume=options.resume,
    )
    return None if done is None else done[0]


def _lines(path: Path) -> ResultLines:
    return ResultLines(path, "kind", "blocks", "attention", "seed", in_order=True)


def table(results: Sequence[Result] | None = None) -> Table:
    """Accuracy of each arm over the distance, by default of the stored results."""
    results = _lines(_FILE).read() if results is None else results
    rows, stride = [], Recall().stride
    for kind in KINDS:
        for arm, described in CAUSAL_ARMS.items():
            found = [result for result in results if (result["kind"], result["attention"]) == (kind, arm)]
            if not found:
                continue
            by_seed = {result["seed"]: 100 * np.array(result["rows"][-1]["accuracy"][::-1]) for result in found}
            # From the last blocks, which are near, to the first, in four parts.
            near_by = {result["seed"]: 100 * result["rows"][-1]["near_accuracy"] for result in found}
            parts = [slice(None), *_quarters(found[0]["blocks"])]
            means = ({seed: float(near[part].mean()) for seed, near in by_seed.items()} for part in parts)
            cells = map(mean_and_spread, [near_by, *means])
            rows.append(f"{kind} | {described.label} | {len(found)} | {' | '.join(cells)}")
    blocks = sorted({result["blocks"] for result in results})
    if len(blocks) > 1:
        raise ValueError(f"results have {blocks} blocks; a table is of one number of them, so write others elsewhere")
    quarters = _quarters(blocks[0]) if blocks else []
    distances = " | ".join(f"{part.start * stride} to {part.stop * stride} back" for part in quarters)
    note = (
        "Per cent of the questions, mean ± standard deviation over the seeds; a guess is right in one of eight. Near: "
        "right after a block. Far: at the end, by how far back the block was. Pairs: only what is asked for has a key. "
        "Groups: what is asked for at the end is known from the other tokens of its block."
    )
    return Table.of(f"task | attention | seeds | near | far | {distances}", rows, "Associative recall", note)


def _quarters(blocks: int) -> list[slice]:
    bounds = [blocks * part // 4 for part in range(5)]
    return [slice(first, last) for first, last in itertools.pairwise(bounds)]


TABLES = {"recall": table}


def main() -> None:
    """Runs the command line; errors of the user are one line."""
    options = parse_arguments()
    try:
        result = run(options)
    except ValueError as error:
        sys.exit(f"recall: {error}")
    if result is None:
        print(f"{options.results} has this run already")
    else:
        print(f"{result['attention']}: {np.mean(result['rows'][-1]['accuracy']):.1%} of the answers")


if __name__ == "__main__":
    main()
