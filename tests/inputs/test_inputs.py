"""Columns of any type become tensors; a bad value costs its row, with a reason."""

import decimal

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.inputs import (
    ROW_REASONS,
    ImageInput,
    RowSpec,
    Target,
    TensorInput,
    TextInput,
    WordEncoder,
)
from hilum.inputs.fields import input_from_json
from hilum.preprocessing import Chain, ChannelNormalize, Resize

CHAIN = Chain((Resize(4, 4), ChannelNormalize((0.5,), (0.25,))))


def vector(**changes):
    return TensorInput(**{"column": "x", "shape": (2,), **changes})


def image(side=8, **changes):
    pixels = np.full((side, side), 128, np.uint8).tobytes()
    struct = {"height": side, "width": side, "nChannels": 1, "data": pixels}
    return {**struct, **changes}


@pytest.mark.parametrize(
    ("field", "values", "reasons"),
    [
        (vector(), [[1.0, 2.0], [3.0], None, [1.0, None]], [None, "wrong_shape", "null", "null"]),
        (vector(), [[1.0, 2.0], [np.nan, 0.0], [1e300, 0.0]], [None, "not_finite", "not_finite"]),
        (vector(dtype="int64"), [[1.0, 2.0], [0.5, 1.0]], [None, "not_whole"]),
        (vector(shape=(2, 1)), [[[1], [2]], [[1, 2]], [[1], [2, 3]]], [None, *["wrong_shape"] * 2]),
        (vector(shape=(1,)), [1.5, None], [None, "null"]),
        (vector(shape=(1,)), [True, False], [None, None]),
        (TextInput(column="x", encoder=WordEncoder(("a",), 2)), ["a b", None], [None, "no_text"]),
        (
            ImageInput.of("x", CHAIN),
            [image(), None, image(height=9), image(side=5)],
            [None, "no_image", "corrupt", None],
        ),
    ],
)
def test_a_bad_value_costs_its_row_and_no_other(field, values, reasons):
    column = pa.array(values)
    spec = RowSpec(inputs=(field,), targets=(Target(column="y", shape=()),))
    records, found = spec.pack([column])
    assert found == reasons
    assert {reason for reason in found if reason} <= {*ROW_REASONS, "corrupt"}
    (tensor,) = spec.tensors(torch.from_numpy(records))
    (alone,) = spec.tensors(torch.from_numpy(spec.pack([column[:1]])[0]))
    assert torch.equal(tensor[:1], alone), "good rows do not feel bad ones"
    assert tuple(tensor.shape) == (len(values), *field.shape)
    assert input_from_json(field.to_json()) == field


@given(
    rows=st.lists(
        st.tuples(
            st.lists(
                st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
            ),
            st.integers(-(2**53), 2**53),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30, deadline=None)
def test_what_is_packed_is_unpacked(rows):
    """Numbers of several sizes beside each other, at any place in a batch."""
    spec = RowSpec(
        inputs=(
            vector(column="three", shape=(3,)),
            vector(column="one", shape=(1,), dtype="int64"),
        ),
        targets=(Target(column="y", shape=()),),
    )
    floats, whole = zip(*rows, strict=True)
    records, reasons = spec.pack([pa.array(list(floats)), pa.array(list(whole))])
    assert not any(reasons)
    three, one = spec.tensors(torch.from_numpy(records))
    np.testing.assert_array_equal(three.numpy(), np.array(floats, np.float32))
    np.testing.assert_array_equal(one.numpy()[:, 0], whole)


def test_labels_may_be_unknown_in_part_or_whole_but_not_misshapen():
    spec = RowSpec(
        inputs=(vector(),),
        targets=(Target(column="one", shape=()), Target(column="pair", shape=(2,))),
    )
    pairs = [[1.0, None], None, [1.0], [2.0, 3.0]]
    found, reasons = spec.read_labels([pa.array([1.0, 2.0, 3.0, None]), pa.array(pairs)])
    assert reasons == [None, None, "bad_label", None]
    nan = np.nan
    np.testing.assert_array_equal(found[[0, 1, 3]], [[1, 1, nan], [2, nan, nan], [nan, 2, 3]])
    one, pair = spec.labels(torch.from_numpy(found), ())
    assert (tuple(one.shape), tuple(pair.shape)) == ((4,), (4, 2))


def test_a_contract_is_read_back_from_json():
    words = TextInput(column="text", encoder=WordEncoder.fit(["b a a", "c"], length=3))
    spec = RowSpec(
        inputs=(ImageInput.of("image", CHAIN), vector(), words),
        targets=(Target(column="x", shape=(2,), input=1),),
    )
    assert RowSpec.from_json(spec.to_json()) == spec
    with pytest.raises(InvalidValueError, match="incomplete"):
        RowSpec.from_json({"inputs": []})
    with pytest.raises(InvalidValueError, match=r"kind of an input must be one of .* Got 'sound'"):
        input_from_json({"kind": "sound"})


def test_words_are_numbered_by_how_often_they_occur():
    encoder = WordEncoder.fit(["No acute disease", "no effusion. No!"], length=4, max_words=3)
    assert encoder.vocabulary == ("no", "acute", "disease")
    assert encoder.encode("Disease? no EFFUSION").tolist() == [4, 2, 1, 0]
    assert encoder.encode("no no no no no").tolist() == [2] * 4
    assert encoder.size == 5


def test_a_chain_without_one_size_is_refused():
    with pytest.raises(InvalidValueError, match=r"put Resize\(height, width\) first"):
        ImageInput.of("image", Chain((ChannelNormalize((0.5,), (0.25,)),)))


def test_decimals_and_texts_are_no_numbers_here():
    """Spark casts decimals before; a text of digits is not silently a number."""
    for values in ([decimal.Decimal("1.5")], ["12"], [["12"]]):
        _, reasons = vector(shape=(1,)).read(pa.array(values))
        assert reasons in (["null"], ["wrong_shape"])
