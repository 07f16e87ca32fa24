"""D-Wave's COO text of a model: `i j bias`, the kind of variables in a comment."""

import re

from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source, format_number, parse_number
from qama_jax.problems.terms import make_terms

VARTYPE = re.compile(r"^[ \t]*#.*?vartype[:=][ \t]*(\w+)", flags=re.MULTILINE)


def read_coo(source: Source) -> Model:
    """Variables are the indices that occur, in order; repeated pairs are summed, as dimod does."""
    found = VARTYPE.search(source.text())
    kind = found[1] if found else None
    if kind not in ("SPIN", "BINARY"):
        raise ValueError(
            f"{source.name} does not say its variables; write `# vartype=BINARY` or `# vartype=SPIN` in its first line"
        )
    pairs, weights = [], []
    for number, words in source.lines():
        where = source.where(number)
        try:
            row, column, weight = words
            row, column = int(row), int(column)
        except ValueError as error:
            raise ValueError(f"{where}: expected `i j bias`, numbers, got {' '.join(words)[:80]!r}") from error
        if min(row, column) < 0:
            raise ValueError(f"{where}: {row} {column} is out of range; indices must not be negative")
        pairs.append((row, column))
        weights.append(parse_number(where, weight))
    labels = sorted({index for pair in pairs for index in pair})
    if not labels:
        raise ValueError(f"{source.name} has no entries; it must have a line `i j bias`")
    places = {label: place for place, label in enumerate(labels)}
    loops = [(places[i], weight) for (i, j), weight in zip(pairs, weights, strict=True) if i == j]
    linear = [0] * len(labels)
    for place, weight in loops:
        linear[place] += weight
    couplers = [(places[i], places[j], weight) for (i, j), weight in zip(pairs, weights, strict=True) if i != j]
    rows, columns, values = zip(*couplers, strict=True) if couplers else ((), (), ())
    terms = make_terms(len(labels), rows, columns, values, linear, spins=kind == "SPIN")
    return Model(terms, tuple(labels))


def write_coo(model: Model) -> str:
    """Every variable has an entry, so that none is lost."""
    terms = model.terms
    labels = model.labels
    are_indices = all(isinstance(label, int) and label >= 0 for label in labels)
    refuse_loss("coo", offset=terms.offset != 0, labels_other_than_indices=not are_indices)
    lines = [f"{label} {label} {format_number(w)}" for label, w in zip(labels, terms.linear.tolist(), strict=True)]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    lines += [f"{labels[i]} {labels[j]} {format_number(w)}" for i, j, w in entries]
    return "\n".join([f"# vartype={'SPIN' if terms.spins else 'BINARY'}", *lines]) + "\n"
