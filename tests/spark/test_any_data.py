"""NNEstimator trains any network on any columns."""

import time

import numpy as np
import pytest
import torch
from pyspark.ml.linalg import Vectors
from sklearn.linear_model import LinearRegression

import row_nets
from hilum.errors import InvalidValueError
from hilum.inference import load_bundle, save_bundle
from hilum.inputs import WordEncoder
from hilum.models import factory
from hilum.preprocessing import Chain, ChannelNormalize, Resize
from hilum.spark import NNEstimator, NNModel
from row_nets import TwoArguments, image_number_text, line, narrow, watched, worst

pytestmark = pytest.mark.spark

WEIGHTS = np.array([1.5, -2.0, 0.5])


@pytest.fixture(scope="module")
def table(spark):
    """Dense and sparse rows of a line with a little noise; the last two are bad."""
    spark.addArtifacts(row_nets.__file__, pyfile=True)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 3)).round(3)
    x[::3, 1] = 0.0
    y = x @ WEIGHTS + 0.7 + generator.normal(scale=0.05, size=64)
    rows = []
    for number, (row, label) in enumerate(zip(x, y, strict=True)):
        sparse = Vectors.sparse(3, {i: v for i, v in enumerate(row) if v})
        rows.append((sparse if number % 3 == 0 else Vectors.dense(row), row.tolist(), float(label)))
    rows += [(Vectors.dense([1.0, 2.0]), [1.0, 2.0], 1.0), (None, None, 1.0)]
    kinds = ["features", "list", "y"]
    return spark.createDataFrame(rows, kinds).coalesce(1), x, y


def estimator(**changes):
    return NNEstimator(
        **{
            "model": factory(line),
            "featuresCol": "features",
            "labelCol": "y",
            "loss": "mse",
            "schedule": "constant",
            "warmupEpochs": 0.0,
            "optimizer": "sgd",
            "learningRate": 0.25,
            "momentum": 0.0,
            "weightDecay": 0.0,
            "maxEpochs": 40,
            "batchSize": 64,
            "precision": "float32",
            "showProgress": False,
            **changes,
        }
    )


def test_linear_regression_on_vectors_is_that_of_scikit_learn(table, tmp_path):
    data, x, y = table
    model = estimator(runDir=str(tmp_path / "run")).fit(data)
    known = LinearRegression().fit(x, y)
    np.testing.assert_allclose(model.bundle.weights["weight"][0], known.coef_, atol=1e-2)
    assert model.bundle.weights["bias"].item() == pytest.approx(known.intercept_, abs=1e-2)
    assert model.bundle.provenance["images_rejected"] == {"wrong_shape": 1, "null": 1}
    assert model.history.epochs[-1].valid_auroc == ()
    assert not [name for name in model.summary.columns if name.startswith("valid_auroc_")]
    model.write().overwrite().save(str(tmp_path / "model"))
    rows = NNModel.load(str(tmp_path / "model")).transform(data).collect()
    found = np.array([row.prediction for row in rows[:64]])
    np.testing.assert_allclose(found, known.predict(x), atol=5e-2)
    assert [row.prediction_error for row in rows[64:]] == ["wrong_shape", "null"]
    assert [row.prediction for row in rows[64:]] == [None, None]


def test_several_arguments_and_outputs_of_a_module_have_a_column_and_a_loss_each(table, tmp_path):
    """The module's code stays here; ranks and bundle have its steps."""
    data, _, _ = table
    both = data.selectExpr("list", "y as number", "y", "array(y, -y) as pair")
    torch.manual_seed(0)
    network = TwoArguments()
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = estimator(
        model=network,
        featuresCols=["list", "number"],
        labelCols=["y", "pair"],
        loss={"pair": (worst, 0.5), "y": "mse"},
        learningRate=0.1,
        maxEpochs=2,
        numRanks=2,
    )
    made.write().save(str(tmp_path / "estimator"))
    model = NNEstimator.load(str(tmp_path / "estimator")).fit(both)
    numbers = torch.tensor([row.list for row in both.collect()[:64]])
    y = torch.tensor([row.y for row in both.collect()[:64]])
    with torch.no_grad():
        one, two = network(numbers, y[:, None])
    first = ((one[:, 0] - y) ** 2).mean()
    second = (two - torch.stack([y, -y], 1)).abs().amax(1).mean()
    known = float(first + 0.5 * second)
    assert model.history.epochs[0].train_loss == pytest.approx(known, rel=1e-4)
    assert model.history.epochs[1].train_loss < known
    assert all(network.state_dict()[name].equal(tensor) for name, tensor in start.items())
    save_bundle(model.bundle, str(tmp_path / "bundle"))
    again = load_bundle(str(tmp_path / "bundle")).network()
    assert not isinstance(again, TwoArguments)
    (row,) = model.transform(both).select("list", "number", "prediction").limit(1).collect()
    one, two = again(torch.tensor([row.list]), torch.tensor([[row.number]]))
    assert row.prediction.y == pytest.approx(one.item(), rel=1e-5)
    assert row.prediction.pair == pytest.approx(two[0].tolist(), rel=1e-5)


def test_sizes_that_do_not_fit_are_said_with_both_shapes_before_training(table, tmp_path):
    data, _, _ = table
    started = time.perf_counter()
    with pytest.raises(InvalidValueError, match=r"'features' float32 \(N, 3\).*\(N, \.\.\., 5\)"):
        estimator(model=factory(line, features=5), runDir=str(tmp_path / "run")).fit(data)
    with pytest.raises(InvalidValueError, match=r"\(N, 4\) from the network and \(N\,?\)"):
        estimator(model=factory(watched, outputs=4), runDir=str(tmp_path / "run")).fit(data)
    assert row_nets.WAITED
    assert all(row_nets.WAITED), "networks of parallel fits would trip over each other"
    assert time.perf_counter() - started < 10
    assert not (tmp_path / "run").exists()
    with pytest.raises(InvalidValueError, match=r"loss must be one per label column \(y\)"):
        estimator(loss={"z": "mse"}).fit(data)


def test_an_image_a_number_and_a_text_go_in_together(spark, table, tmp_path):
    """Bad rows of each kind come back with their own reason."""
    good = {"height": 6, "width": 6, "nChannels": 1, "mode": 0, "data": bytes(range(36))}
    rows = [
        (good, age, text, age / 90.0)
        for age, text in [(30, "clear lungs"), (60, "effusion"), (80, "effusion, left")] * 4
    ]
    rows += [(None, 1, "clear", 0.0), (good, None, "clear", 0.0), (good, 1, None, 0.0)]
    image = "struct<height:int,width:int,nChannels:int,mode:int,data:binary>"
    data = spark.createDataFrame(rows, f"image {image}, age int, text string, y double")
    data = data.withColumn("age", data.age.cast("double"))
    encoder = WordEncoder.fit((row[2] for row in rows if row[2]), length=3)
    columns = {"model": factory(image_number_text), "featuresCols": ["image", "age", "text"]}
    with pytest.raises(InvalidValueError, match="encoders must be one for the text column text"):
        estimator(**{**columns, "model": factory(watched)}).fit(data)
    assert all(row_nets.WAITED)
    chain = Chain((Resize(8, 8), ChannelNormalize((0.5,), (0.25,))))
    model = estimator(
        **columns,
        encoders={"text": encoder},
        preprocessing=chain,
        learningRate=1e-5,
        maxEpochs=1,
        runDir=str(tmp_path / "run"),
    ).fit(data)
    model.write().save(str(tmp_path / "model"))
    found = NNModel.load(str(tmp_path / "model")).transform(data).collect()
    assert [row.prediction_error for row in found] == [None] * 12 + ["no_image", "null", "no_text"]
    assert all(isinstance(row.prediction, float) for row in found[:12])


def test_a_network_without_labels_learns_what_it_reads(table, tmp_path):
    data, _, _ = table
    model = estimator(model=factory(narrow), labelCol="", maxEpochs=3).fit(data)
    first, *_, last = model.history.epochs
    assert last.train_loss < first.train_loss
    (row,) = model.transform(data).select("prediction").limit(1).collect()
    assert len(row.prediction) == 3
