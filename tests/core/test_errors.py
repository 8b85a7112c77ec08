"""Errors name parameter, rule, value and the way out, and survive the way between processes."""

import copy
import pickle

import pytest

from hilum import errors
from hilum.errors import HilumError, InvalidValueError, RejectedImageError, require
from hilum.radiograph import REASONS

MADE = [
    InvalidValueError("batchSize must be positive. Got 0."),
    errors.MissingDependencyError("install it"),
    errors.ChecksumError("file x"),
    errors.TrainingError("rank 1 of 2 on host failed:\nTraceback"),
    RejectedImageError("truncated", "the last 5 rows are missing"),
    RejectedImageError("empty"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling_and_copying(error):
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_one_except_catches_all_of_them(error):
    assert isinstance(error, HilumError)


def test_an_invalid_value_is_also_a_value_error():
    assert issubclass(InvalidValueError, ValueError)


def test_require_says_parameter_rule_value_and_hint():
    require(True, "dropout", "in [0, 1)", 0.5)
    with pytest.raises(InvalidValueError) as caught:
        require(False, "dropout", "in [0, 1)", 1.5, hint="the paper used 0.2")
    assert str(caught.value) == ("dropout must be in [0, 1). Got 1.5. Hint: the paper used 0.2")


def test_a_rejection_carries_its_reason_code_and_detail():
    error = RejectedImageError("too_large", "9 x 9")
    assert (error.reason, error.detail, str(error)) == ("too_large", "9 x 9", "too_large: 9 x 9")
    assert str(RejectedImageError("empty")) == "empty"


def test_reason_codes_are_fit_for_tables():
    assert all(reason.isidentifier() and text for reason, text in REASONS.items())
