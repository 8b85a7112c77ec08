"""Overlap of two tables, by patient and by image."""

from hypothesis import given
from hypothesis import strategies as st

from hilum.evaluation.leakage import overlap

ids = st.lists(st.integers(0, 20))


@given(ids, ids)
def test_the_overlap_is_that_of_sets_and_symmetric(a, b):
    found = overlap(a, b)
    assert found.patients == len(set(a) & set(b))
    assert bool(found) == bool(set(a) & set(b))
    assert found == overlap(b, a)


def test_unknown_patients_and_files_are_shared_with_nobody():
    assert not overlap([None, "", " ", float("nan")], [None, "", float("nan")], files_a=[None])


def test_ids_are_text_and_paths_end_in_the_name():
    found = overlap(
        [7, "8 "], ["7", 8], files_a=["C:\\x\\a.png", "b.png"], files_b=["s3://y/a.png"]
    )
    assert (found.patients, found.images) == (2, 1)
    assert found.image_examples == ("a.png",)


def test_it_says_what_is_shared_in_words():
    assert str(overlap([1], [2])) == "no patient and no image in both tables"
    many = overlap(range(9), range(9))
    assert str(many) == "9 patients in both tables (0, 1, 2, 3, 4, ...)"
