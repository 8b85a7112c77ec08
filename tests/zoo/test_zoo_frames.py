"""NNImageReader, NNEstimator and NNModel of 2019 on DataFrames, from reading to saving."""

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F

from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.inference import Predictor
from hilum.preprocessing import CenterCrop, ChannelNormalize, RandomHorizontalFlip, Resize
from hilum.training import Every
from hilum.zoo.strict import lifted_grey_levels
from hilum.zoo.translation import RUN_FOLDER_SETTING

pytestmark = pytest.mark.spark


def estimator(model, transformer) -> zoo.NNEstimator:
    return (
        zoo.NNEstimator(model, zoo.BinaryCrossEntropy(), transformer)
        .setFeaturesCol("image")
        .setBatchSize(7)
        .setMaxEpoch(3)
        .setOptimMethod(zoo.Adam(lr=0.05))
    )


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory, request):
    """One run with all that a script may ask for; its model, and where its files are."""
    folder = tmp_path_factory.mktemp("runs")
    image = zoo.Input((1, 16, 12))
    value = zoo.Convolution2D(4, 3, 3, activation="relu")(image)
    value = zoo.Dropout(0.1)(zoo.GlobalAveragePooling2D()(value))
    model = zoo.Model(image, zoo.Dense(2, activation="sigmoid")(value))
    transformer = zoo.ChainedPreprocessing(
        [
            zoo.RowToImageFeature(),
            zoo.ImageCenterCrop(12, 16),
            zoo.ImageRandomPreprocessing(zoo.ImageHFlip(), 0.5),
            zoo.ImageChannelNormalize(100, 100, 100, 50, 50, 50),
            zoo.ImageMatToTensor(),
        ]
    )
    train, valid = small.data.filter("name < '16.png'"), small.data.filter("name >= '16.png'")
    summaries = [
        kind(log_dir=str(folder / "logs"), app_name="X-rays")
        for kind in (zoo.TrainSummary, zoo.ValidationSummary)
    ]
    summaries[0].set_summary_trigger("Loss", zoo.SeveralIteration(2))
    fitted = (
        estimator(model, transformer)
        .setValidation(zoo.EveryEpoch(), valid, [zoo.AUC()], 7)
        .setTrainSummary(summaries[0])
        .setValidationSummary(summaries[1])
        .setCheckpoint(str(folder / "checkpoints"), zoo.EveryEpoch())
        .fit(train)
    )
    return fitted, folder, summaries


def test_images_are_structs_and_a_broken_file_is_left_out(small):
    images = small.data.select("image.*")
    assert images.columns == ["origin", "height", "width", "nChannels", "mode", "data"]
    rows = images.collect()
    assert len(rows) == 24
    assert {(row.height, row.width, row.nChannels, row.mode) for row in rows} == {(16, 16, 1, 0)}
    assert all(row.origin.startswith("file:") for row in rows)
    named = zoo.NNImageSchema.withOriginColumn(small.data.select("image"), "image", "from")
    assert named.select("from").first()[0].endswith(".png")


def test_one_size_alone_is_refused(spark, small):
    with pytest.raises(InvalidValueError, match="resizeW"):
        zoo.NNImageReader.readImages(str(small.folder), spark.sparkContext, resizeH=16)


def test_strict_reading_lifts_grey_levels_where_the_size_changes(spark, small):
    def pixels(**sizes) -> np.ndarray:
        images = zoo.NNImageReader.readImages(f"{small.folder}/03.png", **sizes)
        image = images.first().image
        return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)

    today, stored = pixels(resizeH=16, resizeW=16), pixels(resizeH=20, resizeW=24)
    with zoo.strict_2019():
        assert np.array_equal(pixels(resizeH=16, resizeW=16), lifted_grey_levels()[today])
        assert np.array_equal(pixels(resizeH=20, resizeW=24), stored), "no change of size, no lift"
        with pytest.raises(Exception, match="not_an_image"):
            zoo.NNImageReader.readImages(str(small.folder)).collect()


def test_the_estimator_says_what_it_is_today(small, model, transformer):
    summary = zoo.TrainSummary("logs", "app")
    summary.set_summary_trigger("Loss", zoo.SeveralIteration(50))
    summary.set_summary_trigger("Parameters", zoo.EveryEpoch())
    old = (
        estimator(model, transformer)
        .setOptimMethod(zoo.SGD(0.5, weightdecay=0.01, momentum=0.9))
        .setValidation(zoo.SeveralIteration(30), small.data, [zoo.AUC(), zoo.Loss()], 4)
        .setTrainSummary(summary)
        .setConstantGradientClipping(-2.0, 2.0)
        .setDataCacheLevel("DISK_AND_DRAM", 4)
    )
    settings = old.modern(small.data).settings()
    draft = settings.draft
    assert (draft.global_batch_size, draft.max_epochs, draft.outputs) == (
        7,
        3,
        ("label_1", "label_2"),
    )
    assert draft.preprocessing.steps == (
        Resize(16, 16),  # what the reader did travels along
        CenterCrop(16, 12),
        RandomHorizontalFlip(0.5),
        ChannelNormalize((100 / 255,), (50 / 255,)),
    )
    spec = draft.optimizer
    assert (spec.name, spec.momentum, spec.dampening) == ("sgd", 0.9, 0.9)
    assert (spec.weight_decay, spec.head_weight_decay) == (0.01, pytest.approx(0.11))
    assert spec.decay_norms_and_biases
    assert spec.head_lr_factor == 1.0
    assert draft.dropout == 0.25
    assert draft.clipping.value == 2.0
    assert draft.placement == "part"
    assert draft.validate_every == Every(steps=30)
    assert draft.summarise_every == Every(steps=50)
    assert draft.histograms
    assert old.clearGradientClipping().modern(small.data).settings().draft.clipping.value is None
    by_norm = old.setGradientClippingByL2Norm(3.0).modern(small.data).settings().draft
    assert by_norm.clipping.norm == 3.0


def test_a_regularizer_on_weights_alone_leaves_biases_be(small, transformer):
    image = zoo.Input((1, 16, 12))
    value = zoo.GlobalAveragePooling2D()(zoo.Convolution2D(4, 3, 3)(image))
    heads = {
        (0.1, None): (0.1, False, ()),
        (0.1, 0.3): (0.1, True, (("head.*bias", 0.3),)),
    }
    for (weights, biases), expected in heads.items():
        head = zoo.Dense(
            2,
            W_regularizer=zoo.L2Regularizer(weights),
            b_regularizer=biases and zoo.L2Regularizer(biases),
        )
        old = estimator(zoo.Model(image, head(value)), transformer)
        spec = old.modern(small.data).settings().draft.optimizer
        rules = tuple((rule.pattern, rule.weight_decay) for rule in spec.layer_rules)
        assert (spec.head_weight_decay, spec.decay_norms_and_biases, rules) == expected


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda old: old.setEndWhen(zoo.MaxEpoch(3)), "maxEpoch"),
        (lambda old: old.setValidationSummary(zoo.ValidationSummary("a", "b")), "setValidation"),
        (lambda old: old.setConstantGradientClipping(-1.0, 2.0), "symmetric"),
        (lambda old: old.setLearningRateDecay(0.1), "learningRateDecay"),
        (lambda old: old.setSamplePreprocessing(zoo.SeqToTensor([3])), "image columns"),
        (lambda old: old.setOptimMethod("adam"), "optimMethod"),
        (lambda old: old.setDataCacheLevel("TAPE"), "level"),
    ],
)
def test_what_an_estimator_cannot_do_is_said(small, model, transformer, change, why):
    with pytest.raises(InvalidValueError, match=why):
        change(estimator(model, transformer)).modern(small.data)


def test_a_validation_method_that_is_not_measured_is_refused(small, model, transformer):
    old = estimator(model, transformer).setValidation(zoo.EveryEpoch(), small.data, ["Top1"], 4)
    with pytest.raises(InvalidValueError, match=r"AUC\(\)"):
        old.modern(small.data)


def test_a_label_column_that_is_missing_is_an_error(small, model, transformer):
    with pytest.raises(InvalidValueError, match="labels"):
        estimator(model, transformer).setLabelCol("labels").fit(small.data)


def test_copies_of_an_estimator_are_independent(model, transformer, spark):
    old = estimator(model, transformer)
    copy = old.copy()
    copy.setBatchSize(3)
    assert (old.getBatchSize(), copy.getBatchSize()) == (7, 3)
    assert (old.getMaxEpoch(), old.getEndWhen(), old.isCachingSample()) == (3, None, True)


def test_it_learns_and_the_validation_data_are_another_frame(trained):
    model, folder, _ = trained
    assert len(model.history) == 3
    losses = [record.train_loss for record in model.history]
    assert losses[-1] < losses[0]
    splits = model.bundle.provenance["images_per_split"]
    assert splits == {"train": 16, "valid": 8}
    (run,) = (folder / "checkpoints").iterdir()
    assert (run / "history.json").exists()


def test_transform_adds_one_column_and_is_not_augmented(small, trained):
    model = trained[0]
    once, twice = (model.transform(small.data).orderBy("name") for _ in range(2))
    assert once.columns == [*small.data.columns, "prediction"]
    first = [row.prediction for row in once.collect()]
    assert first == [row.prediction for row in twice.collect()]
    assert {len(values) for values in first} == {2}
    with pytest.raises(InvalidValueError, match="predictionCol"):
        model.transform(once)


def test_summaries_are_read_by_the_tags_of_2019(trained):
    model, folder, (train, valid) = trained
    steps = train.read_scalar("Loss")
    assert steps.shape[1] == 3
    assert steps[:, 0].tolist() == [2, 3, 4, 6, 8, 9], "every second step, and at validations"
    assert train.read_scalar("LearningRate")[:, 1] == pytest.approx(0.05)
    assert (train.read_scalar("Throughput")[:, 1] > 0).all()
    scores = valid.read_scalar("AucScore")
    assert scores[:, 1] == pytest.approx([r.valid_mean_auroc for r in model.history], rel=1e-5)
    assert len(train.read_scalar("Nothing")) == 0
    assert (folder / "logs" / "X-rays" / "validation").is_dir()
    with pytest.raises(InvalidValueError, match="LearningRate"):
        train.set_summary_trigger("Accuracy", zoo.EveryEpoch())


def test_a_saved_model_is_loaded_and_predicts_the_same(small, trained, tmp_path):
    model = trained[0]
    path, weights = str(tmp_path / "xray.bigdl"), str(tmp_path / "xray.bin")
    model.model.saveModel(path, weights, True)
    with pytest.raises(InvalidValueError, match="over_write"):
        model.model.saveModel(path, weights)
    transformer = zoo.ChainedPreprocessing(
        [
            zoo.RowToImageFeature(),
            zoo.ImageCenterCrop(12, 16),
            zoo.ImageChannelNormalize(100, 100, 100, 50, 50, 50),
            zoo.ImageMatToTensor(),
        ]
    )
    again = zoo.NNModel(zoo.Net.load(path, weights), transformer).setFeaturesCol("image")
    again = again.setBatchSize(1)
    data = small.data.limit(3)
    expected = {row.name: row.prediction for row in model.transform(data).collect()}
    for row in again.transform(data).collect():
        assert np.allclose(row.prediction, expected[row.name], atol=1e-6)
    predictor = Predictor.load(model.bundle)
    from image_files import picture  # any radiograph of any size

    (probabilities,) = predictor.predict([picture(1, 40, 30)])
    assert probabilities.shape == (2,), "the reader's resize travels with the model"
    with pytest.raises(InvalidValueError, match="load_bigdl"):
        zoo.Net.load(str(tmp_path))


def test_it_is_a_stage_of_a_pipeline_that_is_saved(small, trained, tmp_path):
    model = trained[0]
    pipeline = PipelineModel([model])
    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    data = small.data.limit(2)
    assert loaded.transform(data).columns == [*data.columns, "prediction"]
    assert isinstance(Pipeline(stages=[estimator(None, None)]).getStages()[0], zoo.NNEstimator)


def test_a_classifier_learns_one_class_per_image_and_predicts_its_number(small, transformer):
    image = zoo.Input((1, 16, 12))
    value = zoo.GlobalAveragePooling2D()(zoo.Convolution2D(6, 3, 3, activation="relu")(image))
    data = small.data.withColumn("label", F.element_at("label", 1) + 1)
    three = zoo.Model(image, zoo.Dense(3, activation="softmax")(value))
    old = zoo.NNClassifier(three, zoo.ClassNLLCriterion(), transformer).setFeaturesCol("image")
    old.setBatchSize(8).setMaxEpoch(20).setOptimMethod(zoo.Adam(lr=0.2))
    old.setValidation(zoo.EveryEpoch(), data, [zoo.Top1Accuracy(), zoo.Loss()])
    model = old.fit(data)
    assert isinstance(model, zoo.NNClassifierModel)
    assert model.findings == ("1", "2", "3")
    assert model.history.best().valid_accuracy == 1.0
    rows = model.transform(data).select("label", "prediction").collect()
    assert all(row.prediction == row.label for row in rows)


def test_a_classifier_of_one_output_on_vectors_calls_by_its_threshold(spark):
    rows = [(Vectors.dense([n, 1.0]), float(n > 3)) for n in range(8)] + [(None, 1.0)]
    data = spark.createDataFrame(rows, ["features", "label"])
    one = zoo.Sequential().add(zoo.Dense(1, activation="sigmoid", input_shape=(2,)))
    old = zoo.NNClassifier(one, zoo.BCECriterion()).setBatchSize(8).setMaxEpoch(1)
    model = old.fit(data)
    for threshold, called in ((0.0, 1.0), (1.0, 0.0)):
        *rows, bad = model.setThreshold(threshold).transform(data).collect()
        assert rows[0].__fields__ == ["features", "label", "prediction"]
        assert {row.prediction for row in rows} == {called}
        assert bad.prediction is None


def test_an_estimator_on_numbers_of_two_inputs_learns_a_mean_squared_error(spark, tmp_path):
    """y = 2 a - b + 1, of one array that is cut; the layers begin alike in every run."""
    rows = [([a, b], 2.0 * a - b + 1.0) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    data = spark.createDataFrame(rows, "features array<int>, label double")
    first, second = zoo.Input((1,)), zoo.Input((1,))
    output = zoo.Dense(1)(zoo.merge([first, second], mode="concat"))
    both = zoo.Model([first, second], output)
    old = zoo.NNEstimator(both, zoo.MSECriterion(), zoo.SeqToMultipleTensors([[1], [1]]))
    old.setBatchSize(9).setMaxEpoch(12).setOptimMethod(zoo.SGD(0.4))
    old.setValidation(zoo.SeveralIteration(12), data, [zoo.Loss()])
    with pytest.raises(InvalidValueError, match=r"Loss\(\) or Top1Accuracy\(\)"):
        old.copy().setValidation(zoo.EveryEpoch(), data, [zoo.AUC()]).modern(data)
    model = old.fit(data)
    model.model.saveModel(str(tmp_path / "model"))
    again = zoo.NNModel(zoo.Net.load(str(tmp_path / "model"))).setFeaturesCol("features")
    scored = again.transform(data)
    assert scored.columns == ["features", "label", "prediction"]
    for row in scored.collect():
        assert row.prediction == pytest.approx([row.label], abs=0.01)


def test_scripts_that_keep_no_checkpoints_name_a_folder_by_a_setting(
    spark, small, model, transformer, tmp_path
):
    spark.conf.set(RUN_FOLDER_SETTING, str(tmp_path))
    try:
        estimator(model, transformer).setMaxEpoch(1).fit(small.data)
    finally:
        spark.conf.unset(RUN_FOLDER_SETTING)
    (run,) = tmp_path.iterdir()
    assert (run / "job.json").exists()


def test_a_context_that_runs_is_taken(spark):
    conf = zoo.create_spark_conf().setAppName("another")
    assert dict(conf.getAll())["spark.speculation"] == "false"
    assert zoo.init_nncontext(conf) is spark.sparkContext
    assert zoo.init_nncontext() is spark.sparkContext
