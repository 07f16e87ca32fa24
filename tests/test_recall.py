"""Associative recall: the sequences, what is counted, and that runs are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import recall
from experiments.data.recall import KINDS, VALUES, Recall
from experiments.train.language import LanguageSettings


@pytest.mark.parametrize("kind", KINDS)
def test_questions_have_answers(kind):
    """Each is a key that occurs once before, whose token has the value; and marks say which, in groups alone."""
    task = Recall(kind, blocks=3, block=7, asked=2)
    ids, answers, blocks = (np.asarray(array) for array in task.draw(jax.random.key(0), 5))
    assert ids.shape == (5, task.length, 3)
    assert ids.max() < task.vocabulary
    drawn = set()
    for tokens, said, of_block in zip(ids, answers, blocks, strict=True):
        before, at_end = tokens[:27].reshape(3, 9, 3), tokens[27:]
        answered = said[:27].reshape(3, 9)
        assert np.all(answered[:, :7] == -1)
        keys = before[:, :7, 0][before[:, :7, 0] > 0]
        assert len(set(keys)) == len(keys) == (6 if kind == "pairs" else 21)
        near = [
            (question, value, block)
            for block in range(3)
            for question, value in zip(before[block, 7:], answered[block, 7:], strict=True)
        ]
        for number, (question, value, block) in enumerate([*near, *zip(at_end, said[27:], of_block, strict=True)]):
            (place,) = np.flatnonzero(before[block, :7, 0] == question[0])
            assert before[block, place, 1] == value
            assert 1 <= value <= VALUES
            assert not question[1:].any()
            marks = before[block, :7, 2]
            if number < len(near):
                drawn.add(int(np.sum(marks == marks[place])))
            elif kind == "groups":
                assert np.sum(marks == marks[place]) == 2
                assert len(set(marks)) == 6
            else:
                assert not marks.any()
        assert sorted(of_block) == [0, 0, 1, 1, 2, 2]
    assert drawn == ({7} if kind == "pairs" else {1, 2})


def test_accuracy_is_counted_by_block(monkeypatch):
    """A model that answers what is asked of the first block."""
    task = Recall(blocks=3)
    _, answers, blocks = task.draw(jax.random.fold_in(jax.random.key(0), 1), 4)
    right = jnp.zeros(answers.shape, bool).at[:, task.blocks * task.stride :].set(blocks == 0)
    logits = jax.nn.one_hot(jnp.where(right, answers, 0), task.vocabulary)
    calls = iter([logits[:3], logits[3:]])
    monkeypatch.setattr(recall, "predict", lambda graph, params, batch: next(calls))
    assert recall.make_task(task, LanguageSettings(batch_size=3, test_texts=4)).test(None, None) == {
        "near_accuracy": 0.0,
        "accuracy": [1.0, 0.0, 0.0],
    }


def test_runs_are_kept_and_tabled(tmp_path):
    """In quarters of the distance, from near to far."""
    file = tmp_path / "recall.jsonl"
    settings = "--attention window --blocks 1 --steps 2 --batch-size 2 --test-sequences 2 --results"
    options = recall.parse_arguments([*settings.split(), str(file), "--run-dir", str(tmp_path / "run")])
    result = recall.run(options)
    assert recall.run(options) is None
    line = result | {
        "blocks": 8,
        "rows": [{"near_accuracy": 0.9, "accuracy": [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.5, 0.7]}],
    }
    table = recall.table([line])
    assert table.header[5:] == ("0 to 64 back", "64 to 128 back", "128 to 192 back", "192 to 256 back")
    assert table.rows == [("pairs", "control: window alone", "1", "90.0", "30.0", "60.0", "30.0", "20.0", "10.0")]
    with pytest.raises(ValueError, match=r"results have \[4, 8\] blocks"):
        recall.table([line, line | {"blocks": 4}])
    with pytest.raises(ValueError, match="kind must be one of pairs, groups, got 'triples'"):
        Recall("triples")
