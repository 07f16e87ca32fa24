import inspect
import re
from pathlib import Path

import jax
import pytest

import qama_jax
from experiments.readme import READMES, with_tables

README = Path(__file__).parent.parent / "README.md"


def test_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["features"].shape == (4, 49, 64)
    assert names["solutions"].bits.shape == (64, 100)
    assert names["outputs"].shape == (3, 10, 16)


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_tables_are_those_of_the_result_files(readme):
    text = readme.read_text()
    assert "<!-- table:" in text
    assert with_tables(text) == text


def test_the_first_page_is_short():
    assert len(README.read_bytes()) <= 10 * 1024


PUBLIC = {
    name: value for name, value in vars(qama_jax).items() if not name.startswith("_") and not inspect.ismodule(value)
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert f"`{name}`" in qama_jax.__doc__
    assert inspect.getdoc(PUBLIC[name])


EXAMPLES = PUBLIC | {
    module.__name__: module
    for module in (qama_jax.hardware, qama_jax.problems, qama_jax.readouts, qama_jax.solvers)
    if ">>>" in module.__doc__
}


@pytest.mark.parametrize("name", [name for name, value in EXAMPLES.items() if ">>>" in (inspect.getdoc(value) or "")])
def test_docstring_examples_run(name):
    import doctest

    (example,) = doctest.DocTestFinder(recurse=False).find(EXAMPLES[name], name, globs={"jax": jax})
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.attempted > 0
    assert result.failed == 0
