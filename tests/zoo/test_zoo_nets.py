"""Loaded networks are cut, frozen and given a head as in 2019, against BigDL's own numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from any_models import loaded
from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.models.transfer_start import TransferStart
from hilum.zoo.nnmodels import _first_class
from hilum.zoo.translation import Settings, _row_params


def with_head(net: zoo.GraphNet, size: tuple[int, int]) -> zoo.Model:
    """The head of the training notebook."""
    image = zoo.Input(name="input", shape=(3, *size))
    features = zoo.GlobalAveragePooling2D(dim_ordering="th")(net.to_keras()(image))
    decay = zoo.L2Regularizer(1e-1)
    head = zoo.Dense(14, W_regularizer=decay, b_regularizer=decay, activation="sigmoid")
    return zoo.Model(image, head(zoo.Dropout(0.2)(features)))


@pytest.fixture
def saved_by_bigdl(real_data: Path) -> tuple[zoo.GraphNet, dict[str, np.ndarray]]:
    """A network that BigDL 2.4 saved, and what it computes by its own account."""
    folder = real_data / "models"
    net = zoo.Net.load_bigdl(str(folder / "graph.bigdl"), str(folder / "graph.bin"))
    return net, dict(np.load(folder / "graph_io.npz", allow_pickle=False))


def output_of(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(images)).numpy()


def test_a_network_of_bigdl_is_cut_at_pool5_and_stays_whole(saved_by_bigdl):
    net, known = saved_by_bigdl
    part = net.new_graph(["pool5"])
    assert np.abs(output_of(part.loaded.network, known["input"]) - known["pool5"]).max() < 1e-6
    assert np.abs(output_of(net.loaded.network, known["input"]) - known["output"]).max() < 1e-6


def test_training_starts_from_the_tensors_of_the_file_and_a_head_like_the_papers(saved_by_bigdl):
    net, known = saved_by_bigdl
    start = with_head(net.new_graph(["pool5"]), (16, 16)).start()
    assert (start.findings, start.dropout, start.head_weight_decay) == (14, 0.2, 0.1)
    network = start.build().eval()
    head = list(network.children())[-1]
    features = torch.from_numpy(known["pool5"]).flatten(1)
    with torch.inference_mode():
        assert torch.allclose(network(torch.from_numpy(known["input"])), head(features), atol=1e-5)


def test_layers_of_ones_own_follow_a_network_of_named_nodes(saved_by_bigdl):
    net, known = saved_by_bigdl
    image = zoo.Input((3, 16, 16))
    value = zoo.Flatten()(net.new_graph(["pool5"]).to_keras()(image))
    hidden = zoo.Dense(8, activation="relu", name="hidden")(value)
    start = zoo.Model(image, zoo.Dense(3)(hidden)).start()
    names = [name for name in start.tensors if "hidden" in name]
    assert names == ["trunk.hidden.weight", "trunk.hidden.bias"]
    assert output_of(start.build().eval(), known["input"]).shape == (2, 3)


def test_a_topology_is_taken_by_name_and_cut_at_the_name_of_2019():
    net = zoo.Net.load_bigdl("resnet18", "random")
    part = net.new_graph(["pool5"]).freeze_up_to(["res3b"])
    model = with_head(part, (64, 64))
    start = model.start()
    assert start.pixels.mean == (0.485, 0.456, 0.406)
    frozen = {name.split(".")[1] for name in start.frozen}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert all(parameter.requires_grad for parameter in net.loaded.network.parameters())
    part.unfreeze(["layer2"])
    left = {name.split(".")[1] for name in with_head(part, (64, 64)).start().frozen}
    assert left == {"conv1", "bn1", "layer1"}
    assert with_head(part.unfreeze(), (64, 64)).start().frozen == ()
    everything = with_head(part.freeze(), (64, 64)).start()
    assert len(everything.frozen) == len(list(part.loaded.network.parameters()))


def test_a_loaded_network_is_trained_as_it_is_on_numbers(monkeypatch):
    monkeypatch.setattr("hilum.zoo.translation.is_image", lambda *_: False)
    net = zoo.GraphNet(loaded())
    params = _row_params(Settings(net, zoo.MSECriterion()), None, "features", exclusive=False)
    start = params["model"]
    assert isinstance(start, TransferStart)
    assert (params["head"], start.architecture.head) == ("keep", "")
    assert start.tensors["fc.weight"].equal(net.loaded.network.get_parameter("fc.weight"))


def test_classes_are_numbers_in_models_of_2019():
    assert (_first_class(("1", "2", "3")), _first_class(("0", "1"))) == (1, 0)
    for names in (("left", "right"), ("1", "3")):
        with pytest.raises(InvalidValueError, match=r"hilum\.spark\.NNClassifierModel"):
            _first_class(names)


def test_layers_cannot_follow_a_network_that_is_code():
    net = zoo.Net.load_bigdl("resnet18", "random").new_graph(["res5b"])
    image = zoo.Input((3, 64, 64))
    value = zoo.Flatten()(net.to_keras()(image))
    with pytest.raises(InvalidValueError, match="new_graph"):
        zoo.Model(image, zoo.Dense(3)(value)).start()


def test_what_a_loader_does_not_know_is_said():
    with pytest.raises(InvalidValueError, match="byte_order"):
        zoo.Net.load_tf("graph.pb", byte_order="big_endian")
    with pytest.raises(InvalidValueError, match="hdf5_path"):
        zoo.Net.load_keras()
    with pytest.raises(InvalidValueError, match="trained"):
        zoo.NNModel(zoo.Net.load_bigdl("resnet18", "random"))


def test_a_frozen_graph_that_bigdl_wrote_is_read(real_data):
    folder = real_data / "models"
    known = dict(np.load(folder / "graph_io.npz", allow_pickle=False))
    frozen = zoo.Net.load_tf(str(folder / "graph.pb"), ["input"], ["prob"])
    # BigDL writes its padding as TensorFlow's, which lies elsewhere: the numbers differ a little.
    assert np.abs(output_of(frozen.loaded.network, known["input"]) - known["output"]).max() < 0.01


def test_a_caffe_network_is_read_cut_and_computes_what_another_program_did():
    folder = Path(__file__).parents[1] / "models" / "data"
    known = np.load(folder / "small_io.npz", allow_pickle=False)
    files = [str(folder / name) for name in ("small.prototxt", "small.caffemodel")]
    part = zoo.Net.load_caffe(*files).new_graph(["pool5"])
    assert np.abs(output_of(part.loaded.network, known["image"]) - known["pool5"]).max() < 2e-5
