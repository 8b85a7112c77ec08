"""Rows in, rows out: one bad row costs one row, whatever is bad about it. No session needed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hilum.errors import InvalidValueError
from hilum.inference import Predictor
from hilum.preprocessing import Chain
from hilum.spark.image_struct import IMAGE_FIELDS, image_rows
from hilum.spark.prediction import Output, RowError, _loaded, _PredictBatches
from hilum.spark.radiograph_prediction import RadiographPredictor

BAD, RAISES = 100, 101


@dataclass(frozen=True)
class Doubling:
    """Twice a whole number; `BAD` cannot be prepared, `RAISES` breaks any pass it is in."""

    batch_size: int

    @property
    def outputs(self):
        return (Output("twice", pa.int64(), "bigint"),)

    def load(self):
        return self

    def prepare(self, columns):
        (numbers,) = columns
        for number in numbers.to_pylist():
            yield RowError("bad") if number in (BAD, None) else number

    def predict(self, prepared):
        if RAISES in prepared:
            raise ArithmeticError("do not show this text")
        assert 0 < len(prepared) <= self.batch_size
        return [{"twice": 2 * number} for number in prepared]


def through(source, batches: list[list[int | None]]) -> list[dict]:
    columns: Iterator = ((pa.array(batch, pa.int64()),) for batch in batches)
    return [row for array in _PredictBatches(source)(columns) for row in array.to_pylist()]


@given(
    st.lists(st.lists(st.sampled_from([1, 2, 3, BAD, RAISES, None]), max_size=9), max_size=6),
    st.integers(1, 8),
)
def test_every_row_comes_back_in_order_whatever_the_batches(batches, batch_size):
    expected = [
        {"twice": None, "error": "bad"}
        if number in (BAD, None)
        else {"twice": None, "error": "network_failed: ArithmeticError"}
        if number == RAISES
        else {"twice": 2 * number, "error": None}
        for batch in batches
        for number in batch
    ]
    assert through(Doubling(batch_size), batches) == expected


def test_a_partition_of_bad_rows_alone_is_not_kept_until_its_end():
    arrays = _PredictBatches(Doubling(2))((pa.array([None] * 1000, pa.int64()),) for _ in range(9))
    assert max(map(len, arrays)) < 9000


def test_a_lost_device_fails_the_task_instead_of_every_row():
    @dataclass(frozen=True)
    class Lost(Doubling):
        def predict(self, prepared):
            raise torch.AcceleratorError("device lost")

    with pytest.raises(torch.AcceleratorError):
        through(Lost(2), [[1, 2, 3]])


class Mean(nn.Module):
    """Mean grey; NaN for an image of all 7."""

    def forward(self, images):
        mean = images.float().mean(dim=(1, 2, 3))[:, None]
        return torch.where(mean == 7, torch.nan, mean)


class Breaking:
    """A chain of a user's that cannot do images of height 5."""

    def __call__(self, images):
        if images.shape[2] == 5:
            raise KeyError("patient name")
        return images[..., :4, :4]


def test_images_are_read_out_of_a_cut_batch():
    rows = [
        None,
        *(
            {"height": 1, "width": n, "nChannels": 1, "data": b" abc"[n:][:1] * n}
            for n in (1, 2, 3)
        ),
    ]
    fields = [(name, kind) for name, kind in IMAGE_FIELDS if name not in ("origin", "mode")]
    cut = pa.array(rows, pa.struct(fields)).slice(2)
    found = list(image_rows(cut))
    assert [(row["width"], row["data"].to_pybytes()) for row in found] == [(2, b"bb"), (3, b"ccc")]
    with pytest.raises(InvalidValueError, match="Spark image struct"):
        list(image_rows(pa.array(["a"])))


def test_a_worker_keeps_two_models_and_no_third():
    loads = []

    @dataclass(frozen=True)
    class Counted(Doubling):
        def load(self):
            loads.append(self.batch_size)
            return self

    _loaded.cache_clear()
    for size in (11, 12, 11, 12, 13, 12, 11):
        through(Counted(size), [[1]])
    assert loads == [11, 12, 13, 11]


def test_nan_an_exception_in_the_chain_and_a_wrong_size_cost_one_row_each():
    predictor = Predictor(
        findings=("Bright",),
        prefix=Breaking(),
        suffix=Chain(()),
        model=nn.Sequential(Mean(), nn.Identity()),
        device=torch.device("cpu"),
        batch_size=3,
    )

    def image(height: int, width: int, level: int, cut: int = 0) -> dict:
        data = np.full(height * width, level, np.uint8).tobytes()[cut:]
        values = ("", height, width, 1, 0, data)
        return dict(zip((name for name, _ in IMAGE_FIELDS), values, strict=True))

    half = image(6, 6, 0) | {"data": None}
    huge = image(4, 4, 1) | {"height": 2**31 - 1, "width": 2**31 - 1}
    images = [image(6, 6, 0), image(6, 6, 7), image(5, 6, 0), image(6, 6, 0, cut=1), None, huge]
    # A smaller image does not fit in one tensor with the others: the pass fails, its rows do not.
    images += [image(3, 3, 0), image(6, 6, 0), half]

    @dataclass(frozen=True)
    class Source:
        outputs = (Output("prediction", pa.list_(pa.float32()), "array<float>"),)

        def load(self):
            return RadiographPredictor(predictor)

    columns = iter([(pa.array(images, pa.struct(IMAGE_FIELDS)),)])
    rows = [row for array in _PredictBatches(Source())(columns) for row in array.to_pylist()]
    codes = [row["error"] for row in rows]
    assert codes == [
        None,
        "not_finite",
        "preprocessing_failed: KeyError",
        "corrupt",
        "no_image",
        "corrupt",
        None,
        None,
        "corrupt",
    ]
    assert all((row["prediction"] is None) == (row["error"] is not None) for row in rows)
    assert rows[0]["prediction"] == [0.5]
