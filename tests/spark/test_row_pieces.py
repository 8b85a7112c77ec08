"""Rows into the cache and out of a network, as a task does it: Arrow in, Arrow out, no session."""

import numpy as np
import pyarrow as pa
import pytest
import torch

import row_nets
from hilum import storage
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.inference.record_predictor import RecordPredictor
from hilum.inputs import Output, RowSpec, Target, TensorInput
from hilum.models import factory
from hilum.models.starting import build_start, whole_design
from hilum.preprocessing import Chain
from hilum.spark import cache_build
from hilum.spark.class_prediction import ClassPredictor
from hilum.spark.prediction import RowError
from hilum.spark.row_cache import RowContent
from hilum.spark.row_columns import RowColumns
from hilum.spark.row_prediction import RowsPredictor, ShippedRowModel

SPEC = RowSpec(
    inputs=(TensorInput(column="x", shape=(3,)),),
    targets=(Target(column="y", shape=()),),
    outputs=(Output(name="y", shape=(1,)),),
)
COLUMNS = RowColumns(features=("x",), labels=("y",), weight="w")
ROWS = pa.table(
    {
        "input_0": [[1.0, 2.0, 3.0], [1.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [0.0, 0.0, 0.0]],
        "label_0": [1.0, 2.0, None, float("inf"), 0.0],
        "split": ["train"] * 5,
        "weight": [1.0, 1.0, 2.0, 1.0, -1.0],
    }
)


@pytest.mark.parametrize("shard_rows", [1, 2])
def test_good_rows_become_records_and_bad_ones_reasons(tmp_path, monkeypatch, shard_rows):
    monkeypatch.setattr(cache_build, "SHARD_BYTES", shard_rows * SPEC.record_bytes)
    content = RowContent(columns=COLUMNS, spec=SPEC)
    index = pa.Table.from_batches(content.write(ROWS.to_batches(), str(tmp_path))).to_pylist()
    reasons = sorted(row["reason"] for row in index if row["reason"])
    assert reasons == ["bad_label", "bad_weight", "wrong_shape"]
    good = [row for row in index if row["shard"]]
    assert len({row["shard"] for row in good}) == 2 // shard_rows
    assert (good[0]["labels"][0], good[0]["weight"]) == (1.0, 1.0)
    assert np.isnan(good[1]["labels"][0])
    for row, numbers in zip(good, [[1, 2, 3], [4, 5, 6]], strict=True):
        records = np.load(storage.join(str(tmp_path), row["shard"]))
        assert row["shape"] == list(records.shape[1:])
        (x,) = SPEC.tensors(torch.from_numpy(records[row["row"]][None]))
        assert x[0].tolist() == numbers


def test_a_row_is_named_by_what_is_in_it(tmp_path):
    content = RowContent(columns=COLUMNS, spec=SPEC)
    twice = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(2, 1), ROWS.slice(0, 1)])
    index = pa.Table.from_batches(content.write(twice.to_batches(), str(tmp_path))).to_pylist()
    first, other, again = (row["key"] for row in index)
    assert first == again != other


def predictor(tmp_path, network, spec, design=None):
    design = design or whole_design(factory(network))
    model, _ = build_start(design, None, 1, seed=1)
    bundle = ModelBundle(
        architecture=design.name,
        design=design,
        findings=tuple(output.name for output in spec.outputs),
        rows=spec,
        preprocessing=Chain(()),
        dropout=0.0,
        weights=model.state_dict(),
        provenance={},
        metrics={},
    )
    save_bundle(bundle, str(tmp_path / "bundle"))
    read = load_bundle(str(tmp_path / "bundle"))
    assert read.rows == spec
    return model, RowsPredictor(RecordPredictor.load(read))


def test_a_bundle_says_of_each_row_what_the_network_says_or_why_not(tmp_path):
    model, rows = predictor(tmp_path, row_nets.line, SPEC)
    values = [[1.0, 2.0, 3.0], None, [1.0, float("nan"), 2.0]]
    prepared = list(rows.prepare([pa.array(values)]))
    assert [item.reason for item in prepared if isinstance(item, RowError)] == [
        "null",
        "not_finite",
    ]
    (good,) = rows.predict(prepared[:1])
    expected = model.eval()(torch.tensor([values[0]])).item()
    assert good["prediction"] == pytest.approx(expected, rel=1e-6)
    rows.predictor.model.weight.data.fill_(float("nan"))
    assert rows.predict(prepared[:1]) == [RowError("not_finite")]


def test_several_outputs_are_one_struct(tmp_path):
    spec = RowSpec(
        inputs=(TensorInput(column="a", shape=(3,)), TensorInput(column="b", shape=(1,))),
        targets=(Target(column="one", shape=()), Target(column="pair", shape=(2,))),
        outputs=(Output(name="one", shape=(1,)), Output(name="pair", shape=(2,))),
    )
    _, rows = predictor(tmp_path, row_nets.two_arguments, spec)
    (found,) = rows.predict(list(rows.prepare([pa.array([[1.0, 2.0, 3.0]]), pa.array([4.0])])))
    (output,) = ShippedRowModel("name", 8, spec.outputs).outputs
    assert output.ddl == "struct<`one`:double,`pair`:array<float>>"
    made = pa.array([found["prediction"]], type=output.arrow).to_pylist()
    assert isinstance(made[0]["one"], float)
    assert len(made[0]["pair"]) == 2


@pytest.mark.parametrize(("outputs", "names"), [(3, ("a", "b", "c")), (1, ("no", "yes"))])
def test_classes_have_a_logit_and_a_probability_each(tmp_path, outputs, names):
    spec = RowSpec(
        inputs=(TensorInput(column="x", shape=(3,)),),
        targets=(Target(column="kind", shape=(), classes=names),),
        outputs=(Output(name="kind", shape=(outputs,)),),
    )
    design = whole_design(factory(row_nets.line, outputs=outputs))
    model, rows = predictor(tmp_path, row_nets.line, spec, design)
    rows = ClassPredictor(rows.predictor)
    values = [[1.0, 2.0, 3.0], None, [30.0, -20.0, 10.0]]
    one, bad, other = rows.prepare([pa.array(values)])
    assert bad == RowError("null")
    found = rows.predict([one, other])
    with torch.no_grad():
        logits = model.eval()(torch.tensor([values[0], values[2]])).double()
    for row, logit in zip(found, logits, strict=True):
        whole = torch.cat([-logit, logit]) if outputs == 1 else logit
        known = (
            torch.cat([1 - logit.sigmoid(), logit.sigmoid()]) if outputs == 1 else whole.softmax(0)
        )
        np.testing.assert_allclose(row["raw"], whole, rtol=1e-6)
        np.testing.assert_allclose(row["probability"], known, rtol=1e-6)
    rows.predictor.model.weight.data.fill_(float("nan"))
    assert rows.predict([one]) == [RowError("not_finite")]
