"""LP files as dimod and CPLEX have them, of binary variables without constraints."""

import re

import numpy as np

from qama_jax.problems.bqm import import_dimod
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, has_long_integers, refuse_loss
from qama_jax.problems.formats.text import Source, format_number
from qama_jax.problems.terms import make_terms

_SENSE = re.compile(r"(min|max)(imize|imum)?", flags=re.IGNORECASE)
_LABEL = re.compile(r"(?![eE.0-9])[A-Za-z0-9!\"#$%&(),.;?@_‘’{}~']{1,255}")


def _detect(source: Source) -> bool:
    words = source.first_words("\\")
    return bool(words) and _SENSE.fullmatch(words[0]) is not None


def _read(source: Source) -> Model:
    dimod = import_dimod()
    sense = _SENSE.fullmatch("".join(source.first_words("\\")[:1]))
    if sense is None:
        raise ValueError(f"{source.name} is not an LP file; its first word must be Minimize or Maximize")
    try:
        model = dimod.lp.loads(source.text)
    except Exception as error:  # of many kinds
        raise ValueError(f"{source.name} is not an LP file that dimod reads: {error}") from error
    if model.constraints:
        raise ValueError(
            f"{source.name} has {len(model.constraints)} constraints; turn them into penalties by "
            "dimod.cqm_to_bqm(dimod.lp.load(file)), and write that by bqm.to_file()"
        )
    labels = tuple(model.variables)
    for label in labels:
        if model.vartype(label) is not dimod.BINARY:
            raise ValueError(f"{source.name}: the variable {label} is not binary; name it in the section Binary")
        if (model.lower_bound(label), model.upper_bound(label)) != (0, 1):
            raise ValueError(f"{source.name}: the variable {label} is fixed by its bounds; put in its value")
    if not labels:
        raise ValueError(f"{source.name} has no variables")
    objective = model.objective
    places = {label: place for place, label in enumerate(labels)}
    linear = np.zeros(len(labels))
    for label, bias in objective.linear.items():
        linear[places[label]] = bias
    pairs = [(places[i], places[j], bias) for (i, j), bias in objective.quadratic.items()]
    rows, columns, values = zip(*pairs, strict=True) if pairs else ((), (), ())
    terms = make_terms(len(labels), rows, columns, values, linear, objective.offset, spins=False)
    return Model(terms, labels, maximize=sense[1].lower() == "max")  # which dimod has negated


def _write(model: Model) -> str:
    """Variables that are numbers are called x1 and so on, as names must not start with a digit."""
    terms = model.terms.to_bits()
    terms = terms.negated() if model.maximize else terms
    labels = [f"x{label}" if isinstance(label, int) else label for label in model.labels]
    are_names = all(isinstance(label, str) and _LABEL.fullmatch(label) for label in labels)
    refuse_loss("lp", labels_other_than_names_of_LP=not are_names)
    refuse_loss("lp", integer_beyond_53_bits=has_long_integers(terms))
    linear = [f"{_signed(w)} {label}" for label, w in zip(labels, terms.linear.tolist(), strict=True)]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    pairs = [f"{_signed(2 * w)} {labels[i]} * {labels[j]}" for i, j, w in entries]
    quadratic = ["+ [", *pairs, "] / 2"] if pairs else []
    objective = [" obj:", *linear, *quadratic, _signed(terms.offset)]
    lines = ["Maximize" if model.maximize else "Minimize", *objective, "Subject To", "Bounds", "Binary", *labels, "End"]
    return "\n".join(lines) + "\n"


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {format_number(abs(number))}"


LP = Format("lp", _read, _detect, _write, labels=True, maximize=True)
