"""Images fold into studies and patients: any image with the finding, mean or highest score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.evaluation.aggregation import aggregate

NAN = float("nan")

tables = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.sampled_from([0.0, 1.0, NAN]), st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


@given(tables)
@settings(max_examples=80, deadline=None)
def test_groups_are_those_of_a_plain_loop(rows):
    ids, labels, scores = ([row[k] for row in rows] for k in range(3))
    highest, mean = (aggregate(labels, scores, ids, how=how) for how in ("max", "mean"))
    assert highest.ids == mean.ids == tuple(dict.fromkeys(ids))
    for at, group in enumerate(highest.ids):
        own = [k for k, name in enumerate(ids) if name == group]
        known = [labels[k] for k in own]
        expected = 1 if 1 in known else NAN if np.isnan(known).any() else 0
        np.testing.assert_equal(highest.labels[at, 0], expected)
        assert highest.scores[at, 0] == max(scores[k] for k in own)
        assert mean.scores[at, 0] == pytest.approx(np.mean([scores[k] for k in own]))
        assert highest.first_image[at] == own[0]


def test_findings_are_folded_apart_and_other_columns_follow():
    labels, scores = [[0, 1], [1, NAN], [0, 0]], [[0.1, 0.9], [0.5, 0.2], [0.3, 0.4]]
    studies = aggregate(labels, scores, ["s1", "s1", "s2"])
    np.testing.assert_array_equal(studies.labels, [[1, 1], [0, 0]])
    np.testing.assert_array_equal(studies.scores, [[0.5, 0.9], [0.3, 0.4]])
    assert studies.take(["patient a", "patient a", "patient b"]) == ["patient a", "patient b"]


def test_one_image_a_patient_changes_nothing():
    labels, scores = np.array([[0.0], [1.0], [NAN]]), np.array([[0.1], [0.2], [0.3]])
    for how in ("max", "mean"):
        same = aggregate(labels, scores, [3, 1, 2], how=how)
        np.testing.assert_array_equal(same.labels, labels)
        np.testing.assert_array_equal(same.scores, scores)


def test_missing_ids_and_unknown_ways_are_refused():
    with pytest.raises(InvalidValueError, match="known"):
        aggregate([0, 1], [0.1, 0.2], ["p", None])
    with pytest.raises(InvalidValueError, match="how must be max or mean"):
        aggregate([0, 1], [0.1, 0.2], ["p", "q"], how="median")
