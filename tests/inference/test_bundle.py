"""A bundle on disk is the model: same weights, names and preprocessing, or a clear refusal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from any_models import loaded, small_net
from hilum.errors import ChecksumError, InvalidValueError, MissingDependencyError
from hilum.evaluation.decision import DecisionRules, fit_decision_rules
from hilum.inference import ModelBundle, bundle_versions, load_bundle, save_bundle
from hilum.models import build_classifier, factory
from hilum.models.starting import build_start, design_of_factory, start_of
from hilum.preprocessing import radiograph_chain


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    model, _ = build_classifier("timm:test_resnet", 2, weights="random", seed=0)
    return ModelBundle(
        architecture="timm:test_resnet",
        findings=("Mass", "Edema"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
        dropout=0.1,
        provenance={"source": {"images": "xrays/"}, "seed": 3},
        metrics={"epoch": 1, "valid_mean_auroc": None},
    )


@pytest.fixture
def saved(bundle, tmp_path) -> Path:
    save_bundle(bundle, str(tmp_path / "bundle"))
    return tmp_path / "bundle"


def rules_for(findings) -> DecisionRules:
    random = np.random.default_rng(0)
    labels = (random.random((300, len(findings))) < 0.3).astype(float)
    scores = 0.4 * labels + 0.6 * random.random(labels.shape)
    return fit_decision_rules(findings, labels, scores)


def edit_manifest(directory: Path, **changes) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same(first: ModelBundle, second: ModelBundle) -> None:
    for name in ("architecture", "findings", "preprocessing", "dropout", "provenance", "metrics"):
        assert getattr(first, name) == getattr(second, name), name
    assert set(first.weights) == set(second.weights)
    for name, tensor in first.weights.items():
        assert tensor.dtype == second.weights[name].dtype
        assert torch.equal(tensor, second.weights[name]), name


def test_what_is_saved_is_what_is_loaded(bundle, saved):
    assert_same(load_bundle(str(saved)), bundle)


def test_a_bundle_can_lie_on_any_storage(bundle):
    save_bundle(bundle, "memory://models/first")
    assert_same(load_bundle("memory://models/first"), bundle)


def test_saving_again_replaces_the_old_one(bundle, saved):
    model, _ = build_classifier("timm:test_resnet", 1, weights="random", seed=5)
    other = ModelBundle(
        architecture="timm:test_resnet",
        findings=("Mass",),
        preprocessing=bundle.preprocessing,
        weights=model.state_dict(),
    )
    save_bundle(other, str(saved))
    assert_same(load_bundle(str(saved)), other)
    assert sorted(path.name for path in saved.iterdir()) == [
        "manifest.json",
        "weights.safetensors",
    ]


def test_the_network_has_the_weights_and_is_ready_to_predict(bundle):
    network = bundle.network()
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, bundle.weights[name]), name
    assert bundle.num_parameters == sum(t.numel() for t in bundle.weights.values())


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_damaged_weights_are_refused(saved, damage):
    path = saved / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes({"flipped": bytes(data), "cut": bytes(data[:-9]), "empty": b""}[damage])
    with pytest.raises(ChecksumError, match=r"weights\.safetensors.*copy it again"):
        load_bundle(str(saved))


def test_missing_weights_are_refused(saved):
    (saved / "weights.safetensors").unlink()
    with pytest.raises(ChecksumError, match=r"weights\.safetensors"):
        load_bundle(str(saved))


def test_calibration_and_thresholds_travel_with_the_model(bundle, tmp_path):
    decided = replace(bundle, decision_rules=rules_for(bundle.findings))
    save_bundle(decided, str(tmp_path))
    assert load_bundle(str(tmp_path)).decision_rules == decided.decision_rules


def test_a_bundle_of_an_older_version_loads_and_has_none(saved):
    path = saved / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("decision_rules") is None
    path.write_text(json.dumps(manifest))
    assert load_bundle(str(saved)).decision_rules is None


def test_thresholds_of_other_findings_are_refused(bundle):
    with pytest.raises(InvalidValueError, match="decision_rules must be for Mass, Edema"):
        replace(bundle, decision_rules=rules_for(("Edema", "Mass")))


def test_a_newer_format_is_refused_with_the_way_out(saved):
    edit_manifest(saved, format_version=3)
    with pytest.raises(InvalidValueError, match=r"version 3.*upgrade"):
        load_bundle(str(saved))


def test_another_kind_of_directory_is_no_bundle(saved, tmp_path):
    with pytest.raises(InvalidValueError, match=r"manifest\.json"):
        load_bundle(str(tmp_path))
    edit_manifest(saved, format="something else")
    with pytest.raises(InvalidValueError, match="something else"):
        load_bundle(str(saved))


def test_a_manifest_that_is_no_json_is_refused(saved):
    (saved / "manifest.json").write_text('{"format": "hilum-bun')
    with pytest.raises(InvalidValueError, match=r"manifest\.json"):
        load_bundle(str(saved))


def test_a_model_without_findings_is_no_model(bundle):
    with pytest.raises(InvalidValueError, match="findings"):
        ModelBundle(
            architecture="timm:test_resnet",
            findings=(),
            preprocessing=bundle.preprocessing,
            weights={},
        )


def test_versions_say_what_made_a_model():
    assert bundle_versions()["torch"] == torch.__version__


# --- networks that are no name


@pytest.fixture
def from_a_file() -> ModelBundle:
    start = start_of(loaded())
    model, _ = build_start(start.architecture, start, 2)
    return ModelBundle(
        architecture=start.architecture.name,
        design=start.architecture,
        findings=("Mass", "Edema"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
    )


def test_a_bundle_of_a_model_from_a_file_holds_how_it_is_built(from_a_file, tmp_path):
    save_bundle(from_a_file, str(tmp_path))
    again = load_bundle(str(tmp_path))
    assert_same(again, from_a_file)
    assert again.design == from_a_file.design
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again.network()(images), from_a_file.network()(images))
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert stored["architecture"] == "tiny.caffemodel"
    assert stored["network"]["recipe"]["network"]["nodes"][0]["name"] == "conv1"


def test_bundles_from_before_have_no_network(bundle, saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest.pop("network") is None
    (saved / "manifest.json").write_text(json.dumps(manifest))
    assert_same(load_bundle(str(saved)), bundle)


def test_a_bundle_of_a_function_needs_the_function_to_predict_and_not_to_be_read(tmp_path):
    design = design_of_factory(factory(small_net, width=4))
    model, _ = build_start(design, None, 1)
    bundle = ModelBundle(
        architecture=design.name,
        design=design,
        findings=("Mass",),
        preprocessing=radiograph_chain(32, design.mean, design.std, channels=1),
        weights=model.state_dict(),
    )
    save_bundle(bundle, str(tmp_path))
    assert list(load_bundle(str(tmp_path)).network().state_dict()) == list(model.state_dict())
    stored = json.loads((tmp_path / "manifest.json").read_text())["network"]
    stored["recipe"]["callable"] = "hospital_nets:small_net"
    edit_manifest(tmp_path, network=stored)
    elsewhere = load_bundle(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"hospital_nets:small_net.*PYTHONPATH"):
        elsewhere.network()


def test_the_name_in_reports_is_that_of_the_design(from_a_file):
    with pytest.raises(InvalidValueError, match="the design's name"):
        replace(from_a_file, architecture="resnet50")
