"""NNEstimator takes any model: from a file, or made by a function of the user's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from pyspark.ml import Pipeline

from any_models import CAFFE, Untraceable, loaded, loaded_from_a_file, small_net, spec
from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.explain import Explainer
from hilum.inference import ModelBundle, Predictor, load_bundle, save_bundle
from hilum.models import FactoryRecipe, TransferStart, factory
from hilum.models.recipes import GraphRecipe
from hilum.models.starting import build_start, start_of, whole_start
from hilum.preprocessing import ChannelNormalize
from hilum.spark import NNEstimator, NNModel
from hilum.spark.fitting import resume_run
from hilum.spark.shipping import ship_bundle, shipped_bundle
from row_nets import others_wait
from warm_command import run_hilum

pytestmark = pytest.mark.spark

FINDINGS = ["Bright", "Left"]


def settings(**changes):
    return {
        "findings": FINDINGS,
        "splitCol": "split",
        "imageSize": 32,
        "maxEpochs": 2,
        "batchSize": 7,
        "precision": "float32",
        "showProgress": False,
        **changes,
    }


@pytest.fixture(scope="module")
def fitted(trained, tmp_path_factory):
    """A model from a file, trained on two ranks through a pipeline."""
    run = tmp_path_factory.mktemp("any") / "run"
    estimator = NNEstimator(model=loaded(), **settings(numRanks=2, runDir=str(run)))
    return Pipeline(stages=[estimator]).fit(trained.data).stages[0], run


def test_a_model_from_a_file_is_trained_on_two_ranks(fitted):
    model, run = fitted
    assert model.bundle.architecture == "tiny.caffemodel"
    provenance = model.bundle.provenance
    assert provenance["num_ranks"] == 2
    assert provenance["start_weights"]["source"] == "/models/tiny.caffemodel"
    assert "network" not in provenance["training"], "the manifest holds it once"
    assert model.history.epochs[-1].train_loss < model.history.epochs[0].train_loss
    stored = json.loads((run / "job.json").read_text())["config"]
    assert stored["batch_norm"] == "frozen", "as for every network that starts trained"
    start = start_of(loaded()).tensors
    assert torch.equal(model.bundle.weights["bn1.running_mean"], start["bn1.running_mean"])


def test_a_fresh_process_predicts_what_transform_does(fitted, trained, tmp_path):
    model, _ = fitted
    save_bundle(model.bundle, str(tmp_path / "bundle"))
    rows = model.transform(trained.data).select("file_name", "prediction").collect()
    expected = {row[0]: list(row[1]) for row in rows if row[1] is not None}
    assert len(expected) == 26
    arguments = ("predict", tmp_path / "bundle", trained.folder, "--format", "json")
    done = run_hilum(*arguments, cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {
        Path(line["path"]).name: [line["probabilities"][finding] for finding in FINDINGS]
        for line in lines
        if line["status"] == "ok"
    }
    assert found.keys() == expected.keys(), done.stderr[-2000:]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    info = run_hilum("info", tmp_path / "bundle", cwd=tmp_path)
    assert "tiny.caffemodel" in info.stdout


def test_its_run_is_resumed_and_its_model_saved_and_loaded(spark, fitted, trained, tmp_path):
    model, run = fitted
    again = resume_run(spark, str(run), num_ranks=1, show_progress=False)
    assert again.bundle.design == model.bundle.design
    for name, tensor in model.bundle.weights.items():
        assert again.bundle.weights[name].equal(tensor), name
    model.write().overwrite().save(str(tmp_path / "model"))
    after = NNModel.load(str(tmp_path / "model"))
    one, other = (m.transform(trained.data.limit(4)).collect() for m in (model, after))
    assert len(one) == 4
    for row, same in zip(one, other, strict=True):
        np.testing.assert_allclose(row.prediction, same.prediction, atol=1e-6)


def test_grad_cam_reads_a_node_of_the_graph(fitted, trained):
    explainer = Explainer.load(fitted[0].bundle)
    pixels = trained.pixels["00.png"]
    inputs = explainer.predictor.inputs(explainer.predictor.prepare(pixels))
    assert explainer.target_layer(inputs) == "0.conv2"
    (heat,) = explainer.explain(pixels, ["Left"])
    assert heat.values.shape == pixels.shape


def test_the_default_chain_is_what_the_file_wants_to_see():
    estimator = NNEstimator(model=loaded())
    chain = estimator.chain()
    assert chain.steps[-1] == ChannelNormalize(CAFFE.mean, CAFFE.std)
    assert chain.output_shape((1, 500, 400)) == (3, 32, 32)
    oblong = start_of(loaded(pixels=type(CAFFE)(size_px=(32, 48))))
    assert NNEstimator(model=oblong).chain().output_shape((1, 500, 400)) == (3, 32, 48)
    assert NNEstimator(model=small_net).chain().output_shape((1, 500, 400)) == (1, 224, 224)


def test_what_a_start_says_of_its_head_counts_unless_the_estimator_says_otherwise(spark):
    start = replace(start_of(loaded()), dropout=0.35, head_weight_decay=0.0005)
    draft = NNEstimator(model=start).settings().draft
    assert (draft.dropout, draft.optimizer.head_weight_decay) == (0.35, 0.0005)
    told = NNEstimator(model=start, dropout=0.1, headWeightDecay=0.2).settings().draft
    assert (told.dropout, told.optimizer.head_weight_decay) == (0.1, 0.2)
    plain = NNEstimator(model=loaded()).settings().draft
    assert (plain.dropout, plain.optimizer.head_weight_decay) == (0.2, 0.01)


class Watched(GraphRecipe):
    """Notes whether other threads wait while its network is built."""

    waited: ClassVar[list[bool]] = []

    def build(self):
        self.waited.append(others_wait())
        return super().build()


def test_parallel_fits_build_their_networks_one_at_a_time(spark):
    start = whole_start(loaded(), "net")
    design = replace(start.architecture, recipe=Watched(spec()))
    NNEstimator(model=replace(start, architecture=design)).settings()
    assert Watched.waited
    assert all(Watched.waited)


@pytest.mark.parametrize(
    "model", [loaded(), factory(small_net, width=4), "any_models:small_net", small_net(4)]
)
def test_an_estimator_with_any_model_is_copied_saved_and_loaded(spark, tmp_path, model):
    before = NNEstimator(model=model, findings=["A"])
    copy = before.copy({before.maxEpochs: 3})
    assert copy.settings().draft.design == before.settings().draft.design
    before.write().overwrite().save(str(tmp_path / "estimator"))
    after = NNEstimator.load(str(tmp_path / "estimator"))
    assert after.uid == before.uid
    assert after.settings() == before.settings()
    assert after.settings().draft.design.recipe == before.settings().draft.design.recipe
    value = before.getOrDefault("model")
    if isinstance(value, TransferStart):
        tensors = after.getOrDefault("model").tensors
        assert all(tensors[name].equal(tensor) for name, tensor in value.tensors.items())
    pipeline = Pipeline(stages=[before])
    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    (stage,) = Pipeline.load(str(tmp_path / "pipeline")).getStages()
    assert stage.settings() == before.settings()


def test_explain_params_shows_a_model_in_words_not_in_numbers(spark):
    text = NNEstimator(model=loaded()).explainParam("model")
    assert "tiny.caffemodel" in text
    assert "tensor(" not in text


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (Untraceable(), InvalidValueError, "control flow.*network_factory"),
        (lambda: small_net(), InvalidValueError, "others can import"),
        ("no_such_module:net", MissingDependencyError, "--py-files"),
        (loaded(spec().up_to("conv2")), InvalidValueError, "transfer"),
        (3, TypeError, "model"),
    ],
)
def test_what_ranks_could_not_build_is_refused_at_once(spark, model, error, said):
    with pytest.raises(error, match=said):
        NNEstimator(model=model)


OWN_NETS = """
from torch import nn
from hilum.models import network_factory

@network_factory
def own_net(width: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * width, 10),
    )
"""


def test_a_function_that_executors_lack_is_said_before_the_cache_is_built_and_sent_trains(
    spark, trained, tmp_path, monkeypatch
):
    (tmp_path / "own_nets.py").write_text(OWN_NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    estimator = NNEstimator(
        model=factory("own_nets:own_net", width=6),
        **settings(runDir=str(tmp_path / "run"), cacheDir=str(trained.run / "cache"), maxEpochs=1),
    )
    with pytest.raises(InvalidValueError, match=r"own_nets:own_net.*--py-files"):
        estimator.fit(trained.data)
    assert not (tmp_path / "run/job.json").exists()
    spark.addArtifacts(str(tmp_path / "own_nets.py"), pyfile=True)
    model = estimator.fit(trained.data)
    assert model.bundle.weights["0.weight"].shape == (6, 1, 3, 3)
    scored = model.transform(trained.data.limit(3)).select("prediction").collect()
    assert all(len(row[0]) == 2 for row in scored)
    assert isinstance(load_design(model, tmp_path).recipe, FactoryRecipe)


def load_design(model, tmp_path):
    save_bundle(model.bundle, str(tmp_path / "bundle"))
    return load_bundle(str(tmp_path / "bundle")).design


def test_executors_get_the_files_of_a_network(spark, tmp_path, monkeypatch):
    start = start_of(loaded_from_a_file(tmp_path, monkeypatch))
    network, _ = build_start(start.architecture, start, 1)
    bundle = ModelBundle(
        architecture=start.architecture.name,
        design=start.architecture,
        findings=("Left",),
        preprocessing=NNEstimator(model=start).chain(),
        weights=network.state_dict(),
    )
    # What a Python worker does; it would not know the kind that this test made up.
    there = Predictor.load(shipped_bundle(ship_bundle(spark, bundle)), batch_size=8)
    images = [np.full((40, 36), level, np.uint8) for level in (10, 200)]
    here = Predictor.load(bundle).predict(images)
    for one, other in zip(there.predict(images), here, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)  # weights lie at other places
