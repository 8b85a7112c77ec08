"""`hilum export`: the file computes what the model does, and says what it is."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hilum.inference import Predictor, load_bundle
from hilum.models import load


@pytest.fixture(scope="module")
def pixels():
    return [np.random.default_rng(n).integers(0, 256, (40, 50), np.uint8) for n in range(3)]


def printed_difference(answer):
    assert answer.code == 0, answer.err
    return float(answer.out.partition("original: ")[2].split()[0])


def probabilities_of(directory, pixels):
    return np.stack(list(Predictor.load(load_bundle(str(directory))).predict(pixels)))


def prepared(directory, pixels):
    predictor = Predictor.load(load_bundle(str(directory)))
    return predictor.inputs(torch.cat([predictor.prepare(one) for one in pixels])).contiguous()


def test_onnx_runs_elsewhere_on_any_number_of_images(hilum, bundle_directory, tmp_path, pixels):
    import onnxruntime

    path = tmp_path / "model.onnx"
    assert printed_difference(hilum("export", bundle_directory, "--to", "onnx", "--out", path)) < (
        1e-5
    )
    session = onnxruntime.InferenceSession(str(path))
    images = prepared(bundle_directory, pixels).numpy()
    (logits,) = session.run(["logits"], {"images": images})
    expected = probabilities_of(bundle_directory, pixels)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["hilum.findings"]) == ["Pneumonia", "Pleural_Thickening"]
    chain = load_bundle(str(bundle_directory)).preprocessing
    assert json.loads(texts["hilum.preprocessing"]) == chain.to_json()
    with torch.no_grad():
        again = load(path).network(torch.from_numpy(images))
    np.testing.assert_allclose(again.numpy(), logits, atol=1e-5)


def test_a_program_of_torch_export_goes_through_the_door_again(
    hilum, bundle_directory, tmp_path, pixels
):
    path = tmp_path / "model.pt2"
    answer = hilum("export", bundle_directory, "--to", "torch-export", "--out", path)
    assert printed_difference(answer) < 1e-5
    images = prepared(bundle_directory, pixels)
    with torch.no_grad():
        logits = load(path).network(images)
    np.testing.assert_allclose(
        logits.sigmoid().numpy(), probabilities_of(bundle_directory, pixels), atol=1e-5
    )


def test_tensors_alone_carry_their_names_and_thresholds(hilum, decided_directory, tmp_path):
    path = tmp_path / "model.safetensors"
    answer = hilum("export", decided_directory, "--to", "safetensors", "--out", path)
    assert printed_difference(answer) == 0
    with safe_open(path, framework="pt") as file:
        texts = file.metadata()
        assert set(file.keys()) == set(load_bundle(str(decided_directory)).weights)
    assert texts["hilum.architecture"] == "timm:test_resnet"
    assert "Pneumonia" in texts["hilum.decision_rules"]


def test_without_a_name_the_file_lies_beside_the_bundle(hilum, bundle_directory):
    hilum("export", bundle_directory, "--to", "safetensors")
    assert (bundle_directory.parent / "model.safetensors").is_file()
    assert not list(bundle_directory.parent.glob(".*unchecked*"))


def test_an_unknown_format_is_refused(hilum, bundle_directory):
    answer = hilum("export", bundle_directory, "--to", "caffe")
    assert answer.code == 1
    assert "onnx, torch-export, safetensors" in " ".join(answer.err.split())
