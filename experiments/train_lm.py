"""A byte-level language model on IMDB with causal QAMA, softmax or a window alone.

    python experiments/train_lm.py --attention qama

Prints a text that the trained model writes from its cache, whose size does not depend on how long the text is, but for
softmax. Result and checkpoints are in the run directory; `--resume` continues there. With `--results FILE` the result
is also a line of that file, and a run whose line is there already is not repeated.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax
from flax import nnx

from experiments.causal_arms import CAUSAL_ARMS, MemorySizes
from experiments.data.prepared import DataNotFoundError
from experiments.data.text_bytes import ByteStreams, load_bytes
from experiments.models.language_model import LanguageModel
from experiments.reproduce.spread import differences, mean_and_spread
from experiments.result_files import RESULTS, Result, ResultLines
from experiments.tables import Table
from experiments.train.language import LanguageSettings, generate, texts_of, train_unless_done

_FILE = RESULTS / "language_model.jsonl"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    sizes = MemorySizes()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    arms = "; ".join(f"{name}: {arm.label}" for name, arm in CAUSAL_ARMS.items())
    parser.add_argument("--attention", choices=CAUSAL_ARMS, default="qama", help=arms)
    parser.add_argument("--length", type=int, default=LanguageSettings.length, help="bytes of a text")
    parser.add_argument("--steps", type=int, default=LanguageSettings.steps)
    parser.add_argument("--batch-size", type=int, default=LanguageSettings.batch_size)
    parser.add_argument("--learning-rate", type=float, default=LanguageSettings.learning_rate)
    parser.add_argument("--test-texts", type=int, default=LanguageSettings.test_texts)
    parser.add_argument("--steps-per-test", type=int, default=LanguageSettings.steps_per_test)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128, help="features of a token")
    parser.add_argument("--depth", type=int, default=2, help="number of blocks")
    parser.add_argument("--num-heads", type=int, default=4)
    parser.add_argument("--mlp-dim", type=int, default=512)
    parser.add_argument("--chunk-size", type=int, default=sizes.chunk_size, help="tokens of a problem")
    parser.add_argument("--radius", type=int, default=sizes.radius, help="tokens before its own that a window has")
    parser.add_argument("--num-keys", type=int, default=sizes.num_keys, help="remembered keys of a chunk and head")
    parser.add_argument("--memory-size", type=int, default=sizes.memory_size, help="of them, how many a head sees")
    parser.add_argument("--prompt", default="This movie", help="of the text that is written at the end")
    parser.add_argument("--written-bytes", type=int, default=300, help="of that text")
    parser.add_argument("--run-dir", type=Path, help="(default: runs/lm-ATTENTION-LENGTH-seedSEED)")
    parser.add_argument("--results", type=Path, help="file of results, a line a run")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the run directory")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, data: ByteStreams) -> tuple[Result, LanguageModel] | None:
    """Trains one model; returns its result and the model, or None where the results have it already."""
    model = {name: getattr(options, name) for name in ("width", "depth", "num_heads", "mlp_dim")}
    sizes = MemorySizes(**{name: getattr(options, name) for name in MemorySizes._fields})
    attention = CAUSAL_ARMS[options.attention].make(sizes)

    def make_model(rngs: nnx.Rngs) -> LanguageModel:
        return LanguageModel(**model, attention=attention, rngs=rngs)

    settings = LanguageSettings(
        options.seed,
        options.steps,
        options.batch_size,
        options.length,
        options.learning_rate,
        options.test_texts,
        options.steps_per_test,
    )
    header = {
        "attention": options.attention,
        "length": options.length,
        "seed": options.seed,
        "model": model,
        "memory": None if options.attention == "softmax" else sizes._asdict(),
    }
    return train_unless_done(
        make_model,
        lambda: texts_of(data, settings),
        settings,
        header=header,
        run_dir=options.run_dir or Path(f"runs/lm-{options.attention}-{options.length}-seed{options.seed}"),
        results=None if options.results is None else _lines(options.results),
        resume=options.resume,
    )


def _lines(path: Path) -> ResultLines:
    return ResultLines(path, "length", "attention", "seed", in_order=True)


def table(results: Sequence[Result] | None = None) -> Table:
    """Bits a byte of each arm at each length, by default of the stored results."""
    results = _lines(_FILE).read() if results is None else results
    rows = []
    for length in sorted({result["length"] for result in results}):
        of_length = [result for result in results if result["length"] == length]
        found = {arm: {r["seed"]: r for r in of_length if r["attention"] == arm} for arm in CAUSAL_ARMS}
        bits = {arm: {seed: _last_bits(result) for seed, result in found[arm].items()} for arm in CAUSAL_ARMS}
        for arm, described in CAUSAL_ARMS.items():
            if not found[arm]:
                continue
            others = (mean_and_spread(differences(bits[arm], bits[other]), "+.3f") for other in ("softmax", "window"))
            quality = f"{mean_and_spread(bits[arm], '.3f')} | {len(found[arm])} | {' | '.join(others)}"
            time = f"{_speed(found[arm].values()):.2f} | {_time_to_softmax(found[arm], found['softmax'])}"
            rows.append(f"{length:,} | {described.label} | {quality} | {time}")
    header = "bytes | attention | bits a byte | seeds | − softmax | − window alone | steps a second"
    header += " | time to softmax's loss"
    note = (
        "Test texts after the last step, mean ± standard deviation over the seeds; differences are of runs with the "
        "same seed. The time until a model is as good as softmax in the end is a share of softmax's; tests are apart."
    )
    return Table.of(header, rows, "Language model: bits a byte", note)


def _last_bits(result: Result) -> float:
    return result["rows"][-1]["test_bits"]


def _speed(results: Iterable[Result]) -> float:
    rows = [row for result in results for row in result["rows"]]
    return sum(result["settings"]["steps"] for result in results) / sum(row["seconds"] for row in rows)


def _time_to_softmax(found: Mapping[int, Result], softmax: Mapping[int, Result]) -> str:
    """Mean over the seeds; empty where a seed does not get there."""
    shares = []
    for seed in found.keys() & softmax.keys():
        goal = _last_bits(softmax[seed])
        seconds = itertools.accumulate(row["seconds"] for row in found[seed]["rows"])
        pairs = zip(seconds, found[seed]["rows"], strict=True)
        reached = next((time for time, row in pairs if row["test_bits"] <= goal), None)
        if reached is None:
            return ""
        shares.append(reached / sum(row["seconds"] for row in softmax[seed]["rows"]))
    return f"{statistics.mean(shares):.2f}" if shares else ""


TABLES = {"language_model": table}


def main() -> None:
    """Runs the command line; errors of the user are one line."""
    options = parse_arguments()
    try:
        done = run(options, load_bytes("imdb"))
    except (DataNotFoundError, ValueError) as error:
        sys.exit(f"train_lm: {error}")
    if done is None:
        print(f"{options.results} has this run already")
        return
    result, model = done
    print(f"{result['attention']}: {result['rows'][-1]['test_bits']:.3f} bits a byte")
    text = generate(model, options.prompt.encode(), options.written_bytes, key=jax.random.key(options.seed))
    print(text.decode(errors="replace"))


if __name__ == "__main__":
    main()
