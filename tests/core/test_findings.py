"""The 14 findings: NIH's order, and spellings people use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS, NO_FINDING, canonical_finding, multi_hot


def test_the_findings_are_nihs_14_in_the_papers_order():
    assert len(FINDINGS) == len(set(FINDINGS)) == 14
    assert (FINDINGS[0], FINDINGS[6], FINDINGS[13]) == ("Atelectasis", "Pneumonia", "Hernia")


@given(st.sampled_from(FINDINGS), st.sampled_from([str.upper, str.lower, str.title, str]))
def test_case_spaces_hyphens_and_underscores_do_not_matter(finding, cased):
    for separator in ("_", " ", "-", ""):
        assert canonical_finding(cased(finding).replace("_", separator)) == finding


def test_an_unknown_finding_is_named_with_the_known_ones():
    with pytest.raises(InvalidValueError, match=r"'Fracture'.*Atelectasis.*findings="):
        canonical_finding("Fracture")
    assert canonical_finding("fracture", ["Fracture"]) == "Fracture"


@given(st.sets(st.sampled_from(FINDINGS)))
def test_multi_hot_marks_exactly_the_named_findings(names):
    vector = multi_hot(names)
    assert {finding for finding, value in zip(FINDINGS, vector, strict=True) if value} == names
    assert set(vector) <= {0.0, 1.0}


@pytest.mark.parametrize("names", [[], [NO_FINDING], ["no finding", ""], ["No_Finding"]])
def test_no_finding_is_all_zeros(names):
    assert multi_hot(names) == [0.0] * 14


def test_naming_a_finding_twice_changes_nothing():
    assert multi_hot(["Mass", "mass"]) == multi_hot(["Mass"])


def test_other_findings_can_be_used():
    assert multi_hot(["b"], ["A", "B"]) == [0.0, 1.0]
