"""Long sequences: what the tasks are, checked by other means than those that made them."""

import statistics

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.spatial import distance_matrix

from experiments.data import listops, sequences, text
from experiments.data.dataset import Dataset
from experiments.data.pathfinder import draw_images, make_pathfinder
from experiments.data.pixels import grey, load_cifar10_pixels, pixel_tokens
from experiments.train.run import Run
from experiments.train.settings import TrainingSettings

OPERATORS = {listops.MIN: "min((", listops.MAX: "max((", listops.MEDIAN: "median((", listops.SUM_MOD: "sum_mod(("}
PYTHON = {
    "min": min,
    "max": max,
    "median": lambda values: int(statistics.median(values)),
    "sum_mod": lambda values: sum(values) % 10,
}


def in_python(ids):
    """An expression in Python's words."""
    words = OPERATORS | {listops.CLOSE: ")),"} | {digit + 1: f"{digit}," for digit in range(10)}
    return "".join(words[int(token)] for token in ids if token).rstrip(",")


class TestListOps:
    data = listops.make_listops(64, train_examples=1000, test_examples=50)

    def test_values_are_those_of_python(self):
        values = [eval(in_python(ids), {"__builtins__": {}} | PYTHON) for ids in self.data.train_inputs]
        np.testing.assert_array_equal(values, self.data.train_labels)
        assert set(values) == set(range(10))
        assert listops.evaluate([listops.MEDIAN, 2, 5, listops.MIN, 10, 8, listops.CLOSE, 9, listops.CLOSE]) == 5

    def test_expressions_are_of_the_grammar(self):
        lengths = (self.data.train_inputs != 0).sum(axis=1)
        assert (lengths.min(), lengths.max()) == (16, 64)
        deepest = most = 0
        for ids in self.data.train_inputs:
            count = int(np.sum(ids != 0))
            assert (ids[:count] != 0).all(), "padding is at the end"
            arguments = [[0]]
            for token in ids[:count]:
                if token == listops.CLOSE:
                    assert 2 <= arguments[-1][0] <= 10
                    most = max(most, arguments.pop()[0])
                    continue
                arguments[-1][0] += 1
                if token in OPERATORS:
                    arguments.append([0])
                    deepest = max(deepest, len(arguments))
            assert arguments == [[1]]
        assert most == 10
        assert 4 < deepest <= 10
        operators = np.bincount(self.data.train_inputs.ravel(), minlength=16)[listops.MIN : listops.CLOSE]
        assert operators.min() > 0.9 * operators.mean()

    def test_nests_ten_deep_and_draws_long_ones(self):
        """500 to 2,000 tokens; a digit is at most at the tenth level."""
        ids = listops.make_listops(2_048, train_examples=10, test_examples=1).train_inputs
        lengths = (ids != 0).sum(axis=1)
        assert lengths.min() >= 500
        assert lengths.max() <= 2_000
        steps = np.isin(ids, list(OPERATORS)).astype(int) - (ids == listops.CLOSE)
        assert np.cumsum(steps, axis=1).max() == 9

    def test_splits_differ_and_are_the_same_again(self):
        again = listops.make_listops(64, train_examples=1000, test_examples=50)
        np.testing.assert_array_equal(again.train_inputs, self.data.train_inputs)
        np.testing.assert_array_equal(again.test_labels, self.data.test_labels)
        both = np.concatenate([self.data.train_inputs, self.data.test_inputs])
        assert len(np.unique(both, axis=0)) == 1050
        with pytest.raises(ValueError, match="length of listops must be at least 16"):
            listops.make_listops(15)


class TestPathfinder:
    images = draw_images(np.random.default_rng(0), 200)

    def test_joined_dots_are_in_one_piece(self):
        """Of the pixels, neighbours where they are less than 3.5 apart: the dots are in one component, or in two."""
        for pixels, label, dots in zip(*self.images, strict=True):
            drawn = np.argwhere(pixels)
            count, pieces = connected_components(distance_matrix(drawn, drawn) < 3.5)
            assert count == 2
            first, second = (pieces[(drawn == np.round(dot)).all(axis=1)] for dot in dots)
            assert (first == second) == bool(label)

    def test_nothing_else_tells_the_label(self):
        """Neither the number of dots, nor how much is drawn, nor how far apart the dots are."""
        pixels, labels, dots = self.images
        assert labels.sum() == 100
        assert all(ndimage.label(image == 255, structure=np.ones((3, 3)))[1] == 2 for image in pixels)
        distances = np.linalg.norm(dots[:, 0] - dots[:, 1], axis=-1).astype(int)
        np.testing.assert_array_equal(*(np.bincount(distances[labels == label], minlength=40) for label in (0, 1)))
        drawn = (pixels > 0).sum(axis=(1, 2))
        means = [drawn[labels == label].mean() for label in (0, 1)]
        assert abs(means[0] - means[1]) < 4 * drawn.std() / np.sqrt(100)

    def test_is_the_same_again_as_tokens(self):
        data = make_pathfinder(1024, train_examples=200, test_examples=10)
        np.testing.assert_array_equal(data.train_inputs, self.images.pixels.reshape(200, -1).astype(int) + 1)
        np.testing.assert_array_equal(data.train_labels, self.images.labels)
        assert not np.array_equal(data.train_inputs[:10], data.test_inputs)


class TestPixels:
    def test_tokens_are_grey_values_above_padding(self):
        image = np.zeros((1, 4, 4, 3), np.uint8)
        image[0, 0, 1], image[0, 3, 3] = (255, 255, 255), (255, 0, 0)
        tokens = pixel_tokens(grey(image), 16)
        assert tokens.dtype == np.uint16
        assert tokens[0].tolist() == [1, 256, *13 * [1], 1 + 76]

    def test_shorter_ones_are_means_of_squares(self):
        images = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
        tokens = pixel_tokens(images, 64)
        expected = images[2, 4:8, 8:12].mean()
        assert tokens.shape == (3, 64)
        assert abs(tokens[2, 8 + 2] - 1 - expected) <= 0.5
        for length in (0, 100, 1025):
            with pytest.raises(ValueError, match="length of images must be one of 1,024; 256; 64"):
                pixel_tokens(images, length)

    def test_cifar10(self, tmp_path, monkeypatch):
        images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
        found = Dataset(images[:2], np.array([4, 9]), images[2:], np.array([0]))
        monkeypatch.setattr("experiments.data.pixels.load_images", lambda name, folder: found)
        data = load_cifar10_pixels(tmp_path, 1024)
        np.testing.assert_allclose(
            data.test_inputs[0, 33].astype(float) - 1, images[2, 1, 1] @ [0.299, 0.587, 0.114], atol=0.51
        )
        assert data.train_labels.tolist() == [4, 9]


def test_texts_as_bytes(tmp_path, monkeypatch):
    """Cut and padded; the ids are the bytes."""
    texts = {"train": [b"good<br />film", b"ab"], "test": ["a \u2603 film".encode()]}
    monkeypatch.setattr(text, "read_columns", lambda name, split, columns: (texts[split], [1] * len(texts[split])))
    run = Run("imdb_bytes", "none", TrainingSettings(), length=6)
    data = run.load(tmp_path)
    assert data.train_inputs.dtype == np.uint8
    assert data.train_inputs.tolist() == [[*b"good f"], [*b"ab", 0, 0, 0, 0]]
    assert bytes(data.test_inputs[0]) == b"a \xe2\x98\x83 "
    header = run.header(data)
    assert (header["model"]["vocabulary"], header["tokens"], header["dataset"]) == (256, 6, "imdb_bytes")
    monkeypatch.delattr(text, "read_columns")
    np.testing.assert_array_equal(run.load(tmp_path).test_inputs, data.test_inputs)
    with pytest.raises(ValueError, match="dataset must be one of listops, imdb_bytes, cifar10_pixels, pathfinder"):
        sequences.load_sequences("mnist", tmp_path, 64)
