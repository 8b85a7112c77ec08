"""Files that Keras 3 wrote give what Keras 3 computes, without Keras."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.models import load
from hilum.models.roads.keras import load_keras

NAMES = ("small", "nested", "sequence", "mobilenet_v2", "mobilenet_v3", "densenet121")


def reference(folder, name):
    """Images (N, C, H, W) and what Keras made of them."""
    stored = np.load(folder / f"{name}.npz")
    return torch.from_numpy(stored["images"]).permute(0, 3, 1, 2).contiguous(), stored["outputs"]


def computed(model, images):
    with torch.no_grad():
        return model.network(images).numpy()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_keras(keras_folder, name, suffix):
    images, expected = reference(keras_folder, name)
    definition = keras_folder / f"{name}.json" if suffix == ".weights.h5" else None
    model = load(keras_folder / f"{name}{suffix}", definition=definition)
    assert not model.network.training
    assert np.ptp(expected, axis=0).max() > 1e-4, "the images must make a difference"
    np.testing.assert_allclose(
        computed(model, images), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max())
    )
    assert model.report.missing in ((), tuple(m for m in model.report.missing if "num_batch" in m))


def test_a_network_is_built_again_from_its_recipe(keras_folder):
    images, _ = reference(keras_folder, "small")
    model = load(keras_folder / "small.keras")
    again = model.recipe.build()
    again.load_state_dict(model.network.state_dict())
    assert np.array_equal(computed(model, images), again.eval()(images).detach().numpy())
    assert model.pixels.size_px == (17, 21)


def test_nodes_have_the_names_of_keras_layers_and_give_their_outputs(keras_folder):
    images, _ = reference(keras_folder, "small")
    cut = load_keras(keras_folder / "small.h5", outputs=["first", "scores"])
    first, scores = cut.network(images)
    assert first.shape == (2, 6, 9, 11), "as Keras has it, turned"
    assert torch.allclose(scores.sum(1), torch.ones(2))
    assert "base/conv" in load_keras(keras_folder / "nested.keras").recipe.spec.names()


def test_training_goes_on_from_a_keras_file(keras_folder):
    images, _ = reference(keras_folder, "nested")
    network = load(keras_folder / "nested.keras").network.train()
    network(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def changed(path, target, change):
    """A copy of a .keras file with another configuration."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            copy.writestr(name, data)
    return target


def layer(config, name):
    return next(one for one in config["config"]["layers"] if one["config"]["name"] == name)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("first", {"class_name": "Lambda"}, "layer 'first' must be of a kind.*Got Lambda"),
        ("first", {"config": {"padding": "causal"}}, "padding of layer 'first'"),
        ("first", {"config": {"data_format": "channels_first"}}, "must be channels_last"),
        ("first", {"config": {"activation": "mine"}}, "activation of layer 'first'"),
        ("first", {"config": {"filters": 7, "groups": 5}}, "options of node|must be of shape"),
        ("norm", {"config": {"axis": 1}}, "axis of layer 'norm'"),
        ("rows", {"config": {"use_bias": False}}, None),
        ("flat", {"inbound_nodes": [{"args": [], "kwargs": {}}]}, "inputs of layer 'flat'"),
    ],
)
def test_what_is_not_known_is_named(keras_folder, tmp_path, name, change, message):
    def apply(config):
        found = layer(config, name)
        found |= {key: value for key, value in change.items() if key != "config"}
        found["config"] |= change.get("config", {})

    path = changed(keras_folder / "small.keras", tmp_path / "changed.keras", apply)
    if message is None:
        assert "rows/linear.bias" not in load(path).network.state_dict()
        return
    with pytest.raises(InvalidValueError, match=message):
        load(path)


def test_cycles_are_refused(keras_folder, tmp_path):
    def apply(config):
        first, last = layer(config, "first"), layer(config, "rows")
        first["inbound_nodes"] = [[[last["config"]["name"], 0, 0, {}]]]

    path = changed(keras_folder / "small.keras", tmp_path / "cycle.keras", apply)
    with pytest.raises(InvalidValueError, match="cycle"):
        load(path)


def test_variables_outside_of_the_file_are_refused(keras_folder, tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.zeros((4, 4, 3, 6), np.float32)
    path = tmp_path / "linked.h5"
    path.write_bytes((keras_folder / "small.h5").read_bytes())
    with h5py.File(path, "a") as file:
        group = file["model_weights/first/first"]
        del group["kernel"]
        group["kernel"] = h5py.ExternalLink(str(secret), "/kernel")
    with pytest.raises(InvalidValueError, match="in the file itself"):
        load(path)


def test_a_variable_of_nothing_but_its_size_is_refused(keras_folder, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "huge.h5"
    path.write_bytes((keras_folder / "small.h5").read_bytes())
    with h5py.File(path, "a") as file:
        group = file["model_weights/first/first"]
        del group["kernel"]
        group.create_dataset("kernel", (4, 4, 3, 1 << 30), "f4", chunks=(4, 4, 3, 64))
    with pytest.raises(InvalidValueError, match="no larger than its file"):
        load(path)


def test_variables_alone_need_a_definition(keras_folder):
    with pytest.raises(InvalidValueError, match="definition="):
        load(keras_folder / "small.weights.h5")


def test_a_zip_bomb_is_refused_before_it_is_inflated(keras_folder, tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", (keras_folder / "small.json").read_bytes())
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(200):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidValueError, match="zip bomb"):
        load(path)


def test_names_that_lead_out_of_an_archive_are_refused(keras_folder, tmp_path):
    stream = io.BytesIO((keras_folder / "small.keras").read_bytes())
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("../../outside", b"")
    path = tmp_path / "traversal.keras"
    path.write_bytes(stream.getvalue())
    with pytest.raises(InvalidValueError, match="relative and without"):
        load(path)
