"""D-Wave's COO text of a model: `i j bias`, the kind of variables in a comment."""

import re

import numpy as np

from qama_jax.problems.formats.entries import check_entries, line_of_entry, read_entries
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source, format_number
from qama_jax.problems.terms import make_terms

_VARTYPE = re.compile(r"^[ \t]*#.*?vartype[:=][ \t]*(\w+)", flags=re.MULTILINE)


def is_coo(source: Source) -> bool:
    """Whether a comment says the kind of the variables."""
    return source.is_text and "vartype" in source.text and _VARTYPE.search(source.text) is not None


def _read(source: Source) -> Model:
    """Variables are the indices that occur, in order; repeated pairs are summed, as dimod does."""
    found = _VARTYPE.search(source.text)
    kind = found[1] if found else None
    if kind not in ("SPIN", "BINARY"):
        raise ValueError(
            f"{source.name} does not say its variables; write `# vartype=BINARY` or `# vartype=SPIN` in its first line"
        )
    entries = read_entries(source)
    if entries.first_bare is not None:
        raise ValueError(f"{line_of_entry(source, entries.first_bare)}: expected `i j bias`, got no bias")
    check_entries(source, entries, 0, None, repeats=True)
    labels, places = np.unique(np.concatenate([entries.rows, entries.columns]), return_inverse=True)
    if not len(labels):
        raise ValueError(f"{source.name} has no entries; it must have a line `i j bias`")
    rows, columns = np.split(places, 2)
    loops = rows == columns
    linear = np.zeros(len(labels), object)  # as many integers may add up to one beyond int64
    np.add.at(linear, rows[loops], entries.weights[loops])
    pairs = rows[~loops], columns[~loops], entries.weights[~loops]
    return Model(make_terms(len(labels), *pairs, linear, spins=kind == "SPIN"), tuple(labels.tolist()))


def _write(model: Model) -> str:
    """Every variable has an entry, so that none is lost."""
    terms = model.terms
    labels = model.labels
    are_indices = all(isinstance(label, int) and label >= 0 for label in labels)
    refuse_loss("coo", offset=terms.offset != 0, labels_other_than_indices=not are_indices)
    lines = [f"{label} {label} {format_number(w)}" for label, w in zip(labels, terms.linear.tolist(), strict=True)]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    lines += [f"{labels[i]} {labels[j]} {format_number(w)}" for i, j, w in entries]
    return "\n".join([f"# vartype={'SPIN' if terms.spins else 'BINARY'}", *lines]) + "\n"


COO = Format("coo", _read, is_coo, _write, labels=True)
