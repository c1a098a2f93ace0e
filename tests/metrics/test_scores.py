import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score

from skdeepclust.metrics import clustering_accuracy, clustering_report, match_labels
from skdeepclust.ops.contingency import _DENSE_CELLS, _sure_pairs, contingency

SCORES = [clustering_accuracy, clustering_report, match_labels]


def accuracy_by_permutations(y_true, y_pred):
    """Try every one-to-one map, with dummies where classes and clusters differ in number."""
    classes, clusters = sorted(set(y_true)), sorted(set(y_pred))
    classes += [None] * (len(clusters) - len(classes))
    return max(
        sum(t == named[clusters.index(p)] for t, p in zip(y_true, y_pred, strict=True))
        for named in itertools.permutations(classes, len(clusters))
    ) / len(y_true)


def purity(y_true, y_pred):
    members = {p: [t for t, q in zip(y_true, y_pred, strict=True) if q == p] for p in y_pred}
    return sum(max(Counter(classes).values()) for classes in members.values()) / len(y_true)


def random_labels(seed, n_classes, n_clusters, n_samples=60):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(n_classes, size=n_samples)
    y_pred = np.where(rng.random(n_samples) < 0.6, y_true, rng.integers(100, size=n_samples))
    return y_true, y_pred % n_clusters


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_classes", "n_clusters"), [(1, 1), (4, 4), (2, 5), (5, 2), (1, 4)])
def test_accuracies_match_their_definitions(n_classes, n_clusters, seed):
    y_true, y_pred = random_labels(seed, n_classes, n_clusters)
    y_true, y_pred = y_true.tolist(), y_pred.tolist()
    expected = accuracy_by_permutations(y_true, y_pred)
    assert clustering_accuracy(y_true, y_pred) == pytest.approx(expected, abs=1e-15)
    assert clustering_report(y_true, y_pred)["acc"] == pytest.approx(expected, abs=1e-15)
    majority = clustering_accuracy(y_true, y_pred, mapping="majority")
    assert majority == pytest.approx(purity(y_true, y_pred), abs=1e-15)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        random_labels(0, 10, 10),
        random_labels(1, 3, 20),
        random_labels(2, 40, 2),
        ([0, 1, 2, 3], [4, 4, 4, 4]),
        ([4, 4, 4, 4], [0, 1, 2, 3]),
        ([7, 7, 7], [1, 1, 1]),
        ([0, 1, 2, 3], [3, 0, 1, 2]),
        ([0, 0, 1, 1], [0, 1, 0, 1]),
        ([5], [3]),
        (np.arange(2000), np.arange(2000) // 2),
    ],
    ids=lambda labels: f"{len(set(labels))}-labels",
)
def test_report_equals_scikit_learn(y_true, y_pred):
    report = clustering_report(y_true, y_pred)
    assert list(report) == ["acc", "nmi", "ari"]
    assert report["nmi"] == pytest.approx(normalized_mutual_info_score(y_true, y_pred), abs=1e-12)
    assert report["ari"] == pytest.approx(adjusted_rand_score(y_true, y_pred), abs=1e-12)


def test_a_million_labels_do_not_overflow():
    rng = np.random.default_rng(0)
    y_true = rng.integers(2, size=10**6)
    y_pred = np.where(rng.random(10**6) < 0.7, 1 - y_true, y_true)
    report = clustering_report(y_true, y_pred)
    assert report["acc"] == np.mean(y_true != y_pred)
    assert report["ari"] == pytest.approx(adjusted_rand_score(y_true, y_pred), abs=1e-12)
    assert report["nmi"] == pytest.approx(normalized_mutual_info_score(y_true, y_pred), abs=1e-12)


@pytest.mark.parametrize(
    "rename",
    [
        lambda y: 7 - y,
        lambda y: (100 * y).astype(np.int8) if y.max() < 2 else 10**12 * (y - 3),
        lambda y: y.astype(np.uint64) + np.uint64(2**63),
        lambda y: y / 4,
        lambda y: np.array(["ant", "bee", "cat", "dog", "elk", "fox"])[y],
        lambda y: [["1", 1, None, 2.5, ("a", 1), frozenset({3})][i] for i in y],
        lambda y: np.array(["2020-01-01"], "datetime64[D]") + y,
    ],
    ids=["reversed", "sparse", "uint64", "floats", "strings", "mixed", "dates"],
)
def test_scores_do_not_depend_on_names(rename):
    y_true, y_pred = random_labels(0, 6, 6)
    report = clustering_report(y_true, y_pred)
    renamed = rename(y_pred)
    if isinstance(renamed, list):
        renamed = np.fromiter(renamed, dtype=object)
    assert clustering_report(y_true, renamed) == pytest.approx(report, abs=1e-14)
    assert clustering_report(renamed, y_true) == pytest.approx(report, abs=1e-14)
    assert clustering_report(renamed, renamed) == pytest.approx({"acc": 1, "nmi": 1, "ari": 1})


def test_a_list_keeps_numbers_and_strings_apart():
    assert clustering_accuracy([1, "1", 1, "1"], [0, 1, 0, 1]) == 1.0
    assert clustering_accuracy([True, False], ["yes", "no"]) == 1.0


def test_extreme_integers():
    y = np.array([np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max])
    assert clustering_accuracy(y, [2, 1, 0]) == 1.0
    assert clustering_accuracy(np.array([-128, 127], dtype=np.int8), [0, 1]) == 1.0


def test_skipped_files_are_a_cluster():
    assert clustering_accuracy([0, 0, 1, 1], [0, 0, 1, -1]) == 0.75
    assert clustering_accuracy([0, 0, 1, 1], [0, 0, -1, -1]) == 1.0


def test_labels_may_be_tuples():
    classes = [("a", 1), ("a", 1), ("b", 2), ("b",)]
    assert clustering_accuracy(classes, [0, 0, 1, 2]) == 1
    assert match_labels(classes, [0, 0, 1, 3]).tolist() == classes


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 1], [0, 1, 1], "y_true and y_pred must have the same length, got 2 and 3"),
        ([], [], "y_true is empty"),
        ([0], [], "y_pred is empty"),
        ([[0, 1]], [0, 1], "y_true must be 1-D"),
        ([0, 1], 3, "y_pred must be 1-D"),
        ([0.0, np.nan], [0, 1], "y_true contains NaN"),
        ([0, 1], ["a", float("nan")], "y_pred contains NaN"),
        ([0, 1], pd.Series(["a", None], dtype="string"), "y_pred contains NaN"),
        ([0, 1], np.array(["2020-01-01", "NaT"], "datetime64[D]"), "y_pred contains NaN"),
    ],
)
def test_wrong_labels_are_named(score, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        score(y_true, y_pred)


def test_unknown_mapping_is_named():
    with pytest.raises(ValueError, match=r"mapping must be one of .* got 'best'"):
        clustering_accuracy([0], [0], mapping="best")


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (2, 5), (5, 2)])
def test_matched_labels_give_the_accuracy(n_classes, n_clusters):
    y_true, y_pred = random_labels(0, n_classes, n_clusters)
    matched = match_labels(y_true, (y_pred + 1) % n_clusters)
    assert np.mean(matched == y_true) == clustering_accuracy(y_true, y_pred)
    assert np.trace(confusion_matrix(y_true, matched)) == np.sum(matched == y_true)
    assert clustering_report(y_pred, matched)["ari"] == 1.0


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        ([3, 3, 9, 9], "bbaa", [3, 3, 9, 9]),
        ([3, 3, 9, 9, 9, 3], "bbaacd", [3, 3, 9, 9, 10, 11]),
        (np.array([127, 127, 0], np.int8), "aab", [127, 127, 0]),
        (np.array([127, 127, 0, 0, 0], np.int8), "aabbc", [127, 127, 0, 0, 128]),
        ([0.5, 0.5, 2.5, 2.5, 2.5], "aabbc", [0.5, 0.5, 2.5, 2.5, 3]),
        (["x", "x", "y", "y", "y"], "aabbc", ["x", "x", "y", "y", "cluster 0"]),
        (["cluster 0", "cluster 0", "cluster 0"], "aab", ["cluster 0", "cluster 0", "cluster 1"]),
    ],
)
def test_clusters_without_a_class_keep_apart(y_true, y_pred, expected):
    assert match_labels(y_true, list(y_pred)).tolist() == expected


# -- matching without the empty cells ---------------------------------------------------------


def best_sum(y_true, y_pred):
    table = contingency(y_true, y_pred).dense()
    return table[linear_sum_assignment(table, maximize=True)].sum()


@pytest.fixture
def always_sparse(monkeypatch):
    monkeypatch.setattr("skdeepclust.ops.contingency._DENSE_CELLS", 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("k", "m"), [(1, 1), (1, 5), (6, 6), (9, 4), (4, 9), (40, 40), (60, 35)])
def test_sparse_matching_is_exact(always_sparse, k, m, seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 6 * k)
    y_true, y_pred = rng.integers(k, size=n), rng.integers(m, size=n)
    similar = rng.random(n) < rng.random()
    y_pred[similar] = y_true[similar] % m
    table = contingency(y_true, y_pred)
    rows, columns = table.matching()
    assert len(rows) == min(table.classes.size, table.clusters.size)
    assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert table.dense()[rows, columns].sum() == best_sum(y_true, y_pred)
    assert clustering_accuracy(y_true, y_pred) == best_sum(y_true, y_pred) / n


def test_staying_alone_can_be_best(always_sparse):
    """A full matching of the cells that are not empty sums to 2, one of a single pair to 5."""
    y_true, y_pred = [0] * 6 + [1], [0] * 5 + [1] + [0]
    assert clustering_accuracy(y_true, y_pred) == 5 / 7
    assert len(contingency(y_true, y_pred).matching()[0]) == 2


def test_pairs_that_none_can_beat_are_in_a_best_matching():
    rng = np.random.default_rng(0)
    for _ in range(200):
        y_true, y_pred = rng.integers(5, size=(2, 25))
        table = contingency(y_true, y_pred)
        dense = table.dense()
        pairs = _sure_pairs(table.rows, table.columns, table.counts, dense.shape)
        # What the pairs hold and what can be had without them is the best there is.
        rest = np.delete(np.delete(dense, pairs[0], axis=0), pairs[1], axis=1)
        both = dense[pairs].sum() + rest[linear_sum_assignment(rest, maximize=True)].sum()
        assert both == best_sum(y_true, y_pred)


@pytest.mark.parametrize("right", [0.0, 0.5])
def test_many_clusters(right):
    """Large enough to go without the empty cells of itself."""
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(600, size=(2, 20_000))
    y_pred = np.where(rng.random(20_000) < right, y_true, y_pred)
    assert 600 * 600 > _DENSE_CELLS
    assert clustering_accuracy(y_true, y_pred) == best_sum(y_true, y_pred) / 20_000
    matched = match_labels(y_true, y_pred)
    assert (matched == y_true).mean() == clustering_accuracy(y_true, y_pred)
    assert np.array_equal(np.unique(matched), np.arange(600))


def test_tuples_are_labels_wherever_they_stand():
    assert clustering_accuracy(["a", (1, 2), "a"], [1, 2, 1]) == 1
    assert clustering_accuracy([None, "a", (1, 2)], [1, 2, 3]) == 1


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="M8[ns]"),
        np.array([1, 2, 3], dtype="m8[s]"),
        np.array([np.inf, 1, 2]),
        np.array([2**63 - 1, 0, 1]),
        np.array([5, 0, 1], dtype=np.uint64),
        np.array([127, 0, 1], dtype=np.int8),
        np.array([2.0**53, 0, 1]),
    ],
    ids=["dates", "times", "infinity", "largest", "unsigned", "bytes", "floats"],
)
def test_clusters_that_outnumber_classes_are_none_of_them(classes):
    matched = match_labels(classes.repeat(2), [0, 0, 1, 1, 2, 3])
    assert list(matched[:5]) == list(classes.repeat(2)[:5])
    assert matched[5] not in list(classes)
    if classes.dtype == np.uint64:
        assert matched.dtype == np.uint64
