"""QUBO of QOBLIB, as Zimpl writes it: Biq Mac's format, with the constant in a comment `# ObjectiveOffset c`."""

from qama_jax.problems.formats.biqmac import read_symmetric, write_symmetric
from qama_jax.problems.formats.counted import is_qs, shape
from qama_jax.problems.formats.format import Format
from qama_jax.problems.formats.model import Model
from qama_jax.problems.formats.text import Source, format_number, parse_number


def _detect(source: Source) -> bool:
    found = shape(source)
    return source.is_text and (is_qs(source) if found is None else found.says == "qs")


def _read(source: Source) -> Model:
    offset = 0
    for number, words in source.comments():
        if words[:1] == ["ObjectiveOffset"]:
            offset = parse_number(source.where(number), " ".join(words[1:]))
    return read_symmetric(source, offset)


def _write(model: Model) -> str:
    terms = model.terms.to_bits()
    return f"# ObjectiveOffset {format_number(terms.offset)}\n# Vars Non-zeros\n" + write_symmetric(terms)


QS = Format("qs", _read, _detect, _write, first_index=1)
