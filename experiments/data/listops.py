"""ListOps: nested lists of digits under MIN, MAX, MEDIAN and SUM_MOD, whose value is one of ten classes."""

import random
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import Dataset

# Ids of tokens: 0 is padding, digit d is d + 1, then an opening bracket with its operator, and the closing bracket.
MIN, MAX, MEDIAN, SUM_MOD, CLOSE = range(11, 16)
VOCABULARY = 16
# The longest expressions that the task has, and the shortest as a share of the longest.
_LONGEST, _SHORTEST_SHARE = 2_000, 0.25
_OPERATORS = (MIN, MAX, MEDIAN, SUM_MOD)
_MOST_ARGUMENTS, _DEPTH = 10, 10
_OPERATOR_SHARE = 0.25
_TRAIN, _TEST = 96_000, 2_000


def make_listops(length: int, *, train_examples: int = _TRAIN, test_examples: int = _TEST) -> Dataset:
    """Expressions as token ids uint8 [n, length], 0 for padding, and their values, 0 to 9.

    An expression is an operator over 2 to 10 arguments, each of which is a digit or, with a probability of a quarter,
    an expression; digits are at most 10 deep. Of those drawn, the ones of 500 to 2,000 tokens are kept, or where
    `length` is less than 2,000, of `length` / 4 to `length`. All of both splits differ.

    Args:
      length: ids of a sequence.
      train_examples: of the training split.
      test_examples: of the test split.

    Raises:
      ValueError: if no expression is so short.

    References:
      Nangia and Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning", arXiv:1804.06028; in these sizes Tay
      et al., "Long Range Arena", arXiv:2011.04006.
    """
    if length < 16:
        raise ValueError(f"length of listops must be at least 16 tokens, got {length}")
    longest = min(length, _LONGEST)
    shortest = int(_SHORTEST_SHARE * longest)
    generator = random.Random(0)
    count = test_examples + train_examples
    expressions: dict[bytes, None] = {}
    while len(expressions) < count:
        tokens: list[int] = []
        if _draw(generator.random, tokens, 1, longest) and len(tokens) >= shortest:
            expressions[bytes(tokens)] = None
    ids, labels = np.zeros((count, length), np.uint8), np.zeros(count, np.int32)
    for index, tokens in enumerate(expressions):
        ids[index, : len(tokens)] = np.frombuffer(tokens, np.uint8)
        labels[index] = evaluate(tokens)
    return Dataset(ids[test_examples:], labels[test_examples:], ids[:test_examples], labels[:test_examples])


def evaluate(tokens: Sequence[int]) -> int:
    """The value of an expression. MEDIAN is rounded down, SUM_MOD is the sum modulo 10."""
    lists: list[list[int]] = [[]]
    for token in tokens:
        if token == CLOSE:
            operator, *arguments = lists.pop()
            lists[-1].append(_apply(operator, arguments))
        elif token in _OPERATORS:
            lists.append([token])
        else:
            lists[-1].append(token - 1)
    ((value,),) = lists
    return value


def _apply(operator: int, arguments: list[int]) -> int:
    if operator == SUM_MOD:
        return sum(arguments) % 10
    ordered, half = sorted(arguments), len(arguments) // 2
    if operator == MEDIAN:
        return (ordered[half] + ordered[-half - 1]) // 2
    return ordered[0 if operator == MIN else -1]


def _draw(uniform, tokens: list[int], depth: int, longest: int) -> bool:
    """Appends an expression whose operator is so deep; False where it has become too long."""
    tokens.append(_OPERATORS[int(uniform() * len(_OPERATORS))])
    for _ in range(2 + int(uniform() * (_MOST_ARGUMENTS - 1))):
        if depth + 1 < _DEPTH and uniform() < _OPERATOR_SHARE:
            if not _draw(uniform, tokens, depth + 1, longest):
                return False
        else:
            tokens.append(1 + int(uniform() * 10))
    tokens.append(CLOSE)
    return len(tokens) <= longest
