import mutants
import pytest
from mutations import EQUIVALENT, MUTATIONS, TESTS


def test_mutations_apply():
    """Each old text is there once, is changed, and its file says which tests shall see the change."""
    assert set(TESTS) == set(MUTATIONS)
    known = set()
    for file, pairs in MUTATIONS.items():
        source = (mutants.ROOT / "qama_jax" / file).read_text()
        for old, new in pairs:
            assert mutants.mutated(source, old, new, file) != source
            known.add((file, old, new))
    assert set(EQUIVALENT) <= known


@pytest.mark.slow
def test_no_mutant_survives():
    survivors, _ = mutants.run([])
    assert survivors == []
