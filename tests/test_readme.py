import inspect
import re
from pathlib import Path

import jax
import pytest

import qama_jax
from experiments.tables import with_tables

pytestmark = pytest.mark.usefixtures("quick_compilation")

README = Path(__file__).parent.parent / "README.md"


def test_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["features"].shape == (4, 49, 8, 8)
    assert names["diagnostics"].bits.shape == (4, 8, 49)
    assert names["solutions"].bits.shape == (64, 100)
    assert names["outputs"].shape == (3, 10, 16)
    assert names["split"].zeroed_share < 0.2 * names["one"].zeroed_share


def test_tables_are_those_of_the_result_files():
    text = README.read_text()
    assert with_tables(text) == text


PUBLIC = {
    name: value for name, value in vars(qama_jax).items() if not name.startswith("_") and not inspect.ismodule(value)
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert f"`{name}`" in README.read_text()
    assert inspect.getdoc(PUBLIC[name])


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if ">>>" in (inspect.getdoc(value) or "")])
def test_docstring_examples_run(name):
    import doctest

    (example,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={"jax": jax})
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.attempted > 0
    assert result.failed == 0
