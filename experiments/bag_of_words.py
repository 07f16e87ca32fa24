"""What the texts give away without any attention: TF-IDF of words and word pairs, and logistic regression.

python -m experiments.bag_of_words        (a minute; writes experiments/results/bag_of_words.json)
"""

import argparse
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from experiments.data.text import NAMES, read_texts
from experiments.provenance import provenance
from experiments.result_files import RESULTS, load, write_json
from experiments.tables import Table


def make_classifier() -> Pipeline:
    """scikit-learn's defaults, but for word pairs, logarithmic counts and C = 10, as is usual for sentiment."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000))


def table() -> Table:
    """Accuracy on each data set."""
    rows = (f"{name} | {accuracy:.1%}" for name, accuracy in load("bag_of_words")["accuracy"].items())
    return Table.of("data set | TF-IDF and logistic regression", rows)


TABLES = {"words": table}


def main() -> None:
    """Fits both data sets and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--result", type=Path, default=RESULTS / "bag_of_words.json")
    options = parser.parse_args()
    accuracies = {}
    for name in options.datasets:
        texts = read_texts(name)
        classifier = make_classifier().fit(texts.train_texts, texts.train_labels)
        accuracies[name] = float(classifier.score(texts.test_texts, texts.test_labels))
        print(f"{name}: {accuracies[name]:.2%}", flush=True)
    write_json(options.result, {"experiment": "bag_of_words", **provenance(), "accuracy": accuracies})


if __name__ == "__main__":
    main()
