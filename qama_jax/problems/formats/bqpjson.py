"""bqpjson: the energy `scale (Σ c_ij v_i v_j + Σ c_i v_i + offset)` of spins or bits with any numbers as names."""

import json
from typing import Any

from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model, refuse_loss
from qama_jax.problems.formats.text import Source
from qama_jax.problems.terms import make_terms

_VERSION = "0.1.0"


def is_bqpjson(source: Source) -> bool:
    """Whether the file is JSON that names the domain of its variables."""
    return source.is_text and source.text.lstrip().startswith("{") and '"variable_domain"' in source.text


def _read(source: Source) -> Model:
    try:
        data = json.loads(source.text)
        version, labels, domain = data["version"], data["variable_ids"], data["variable_domain"]
        scale, offset = _number(data["scale"]), _number(data["offset"])
        linear = {term["id"]: _number(term["coeff"]) for term in data["linear_terms"]}
        pairs = [(term["id_tail"], term["id_head"], _number(term["coeff"])) for term in data["quadratic_terms"]]
        places = {label: place for place, label in enumerate(labels)}
        rows, columns = [places[tail] for tail, _, _ in pairs], [places[head] for _, head, _ in pairs]
        fields: list[int | float] = [0] * len(labels)
        for label, value in linear.items():
            fields[places[label]] = scale * value
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source.name} does not follow bqpjson's schema: {error!r}") from error
    if version != _VERSION:
        raise ValueError(f"{source.name} is of bqpjson's version {version!r}; only {_VERSION!r} is read")
    is_double = len(places) < len(labels) or len(linear) < len(data["linear_terms"])
    is_double = is_double or len({(tail, head) for tail, head, _ in pairs}) < len(pairs)
    if domain not in ("spin", "boolean") or scale < 0 or is_double or not labels:
        raise ValueError(
            f"{source.name} does not follow bqpjson: variable_domain must be spin or boolean, scale at least 0, and "
            "each variable, term and pair listed once"
        )
    values = [scale * value for _, _, value in pairs]
    terms = make_terms(len(labels), rows, columns, values, fields, scale * offset, spins=domain == "spin")
    return Model(terms, tuple(labels))


def _number(value: Any) -> int | float:
    """Whole numbers as integers, which stay exact."""
    return int(value) if isinstance(value, int) or float(value).is_integer() else float(value)


def _write(model: Model) -> str:
    terms, labels = model.terms, model.labels
    refuse_loss("bqpjson", labels_other_than_indices=not all(isinstance(i, int) and i >= 0 for i in labels))
    linear = [{"id": i, "coeff": w} for i, w in zip(labels, terms.linear.tolist(), strict=True) if w != 0]
    entries = zip(terms.rows.tolist(), terms.columns.tolist(), terms.values.tolist(), strict=True)
    quadratic = [{"id_tail": labels[i], "id_head": labels[j], "coeff": w} for i, j, w in entries]
    data = {
        "version": _VERSION,
        "id": 0,
        "metadata": {},
        "variable_ids": list(labels),
        "variable_domain": "spin" if terms.spins else "boolean",
        "scale": 1,
        "offset": terms.offset,
        "linear_terms": linear,
        "quadratic_terms": quadratic,
    }
    return json.dumps(data) + "\n"


BQPJSON = Format("bqpjson", _read, is_bqpjson, _write, labels=True)
