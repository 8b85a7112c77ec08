"""The roads to published weights, run for real: files, closed ports, servers that misbehave."""

import contextlib
import hashlib
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from hilum.errors import ChecksumError, MissingDependencyError
from hilum.models import architecture, build_classifier
from hilum.models.published import TorchvisionWeights, UrlWeights

PALACE, DAISY = 698, 985  # classes of ImageNet


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty torch hub folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub" / "hub" / "checkpoints"


@pytest.fixture
def no_network(monkeypatch):
    """Any connection out is refused, also where there is a network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, closed)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def published_file(folder, **tensors):
    """A file named after its SHA-256, as torch hub's are."""
    plain = folder / "plain.pth"
    torch.save(tensors, plain)
    sha256 = hashlib.sha256(plain.read_bytes()).hexdigest()
    return plain.rename(folder / f"net-{sha256[:8]}.pth")


@contextlib.contextmanager
def serving(body, *, announced=None):
    """An HTTP server that answers everything with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(announced or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # a test that fails must not leave a thread that keeps the process alive
            server.shutdown()
            thread.join()


def test_published_weights_are_fetched_checked_kept_and_loaded(tmp_path, hub):
    trained, _ = build_classifier("resnet18", 1000, weights="random", seed=7)
    # As torchvision publishes it: the network's own names, with its ImageNet head.
    tensors = {n.replace("fc.1.", "fc."): t for n, t in trained.state_dict().items()}
    file = published_file(tmp_path, **tensors)
    design = replace(architecture("resnet18"), published=UrlWeights(file.as_uri()))
    model, report = build_classifier(design, 14, weights="published")
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, trained.state_dict()[name]), name
    assert report.kind == "published"
    assert report.source == file.as_uri()
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert report.loaded == 120
    assert report.missing == ("fc.1.weight", "fc.1.bias")
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert [kept.name for kept in hub.iterdir()] == [file.name]
    file.unlink()
    again, report_again = build_classifier(design, 14, weights="auto")
    assert report_again == report
    assert all(map(torch.equal, again.parameters(), model.parameters()))


@pytest.mark.parametrize("name", ["resnet50", "timm:resnet18"])
def test_without_a_network_the_error_comes_within_seconds_and_says_what_to_do(name, no_network):
    design = architecture(name)
    start = time.monotonic()
    with pytest.raises(MissingDependencyError, match=r"cannot be fetched from https.*weights="):
        build_classifier(design, 14, weights="published")
    assert time.monotonic() - start < 5


def test_without_a_network_auto_starts_at_random_with_one_warning(no_network, caplog):
    model, report = build_classifier("resnet18", 14, seed=5)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "resnet18 starts from random weights" in warning.getMessage()
    assert "resnet18-f37072fd.pth" in warning.getMessage()
    assert report.kind == "random"
    assert "resnet18-f37072fd.pth" in report.note
    same, _ = build_classifier("resnet18", 14, weights="random", seed=5)
    assert all(map(torch.equal, model.parameters(), same.parameters()))


def test_a_server_that_never_answers_is_given_up(hub):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/net.pth"
        start = time.monotonic()
        with pytest.raises(MissingDependencyError, match="timed out"):
            UrlWeights(url, timeout_s=0.2).locate()
    assert time.monotonic() - start < 3
    assert list(hub.iterdir()) == []


def test_a_cut_download_is_not_kept(hub):
    with serving(b"half", announced=8) as url:
        with pytest.raises(MissingDependencyError, match="4 of 8 bytes arrived"):
            UrlWeights(f"{url}/net.pth").locate()
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("name", ["net-0123abcd.pth", "model.safetensors"])
def test_a_proxys_login_page_is_not_taken_for_weights(name, hub):
    with serving(b"<html>Please sign in</html>") as url:
        with pytest.raises(MissingDependencyError, match="cannot be fetched"):
            UrlWeights(f"{url}/{name}").locate()
    assert list(hub.iterdir()) == []


def test_a_safetensors_file_arrives_whole(hub):
    body = safetensors.torch.save({"w": torch.arange(4.0)})
    with serving(body) as url:
        kept = UrlWeights(f"{url}/model.safetensors", file_name="a--model.safetensors").locate()
    assert kept == hub / "a--model.safetensors"
    assert kept.read_bytes() == body


def test_a_damaged_kept_file_is_found_and_said(tmp_path, hub):
    file = published_file(tmp_path, w=torch.zeros(3))
    hub.mkdir(parents=True)
    (hub / file.name).write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ChecksumError, match="delete it"):
        UrlWeights(file.as_uri()).locate()


def test_a_file_put_into_torch_hubs_folder_needs_no_network(hub, no_network):
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    hub.mkdir(parents=True)
    (hub / "resnet18-f37072fd.pth").write_bytes(b"not those of torchvision")
    with pytest.raises(ChecksumError, match=url):
        TorchvisionWeights("ResNet18_Weights.IMAGENET1K_V1").locate()


def photograph(name, mean, std):
    """A centred square of 224 px of one of scikit-learn's two photographs, normalised."""
    pixels = Image.fromarray(load_sample_image(name))
    width, height = pixels.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = pixels.crop((left, top, left + side, top + side)).resize((224, 224))
    tensor = torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255
    return ((tensor - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def test_efficientnet_lite0_knows_a_palace_and_a_daisy():
    """Every tensor lies in its place, and mean and std are right: a thousand classes say so."""
    design = architecture("efficientnet_lite0")
    model, report = build_classifier(design, 1000, weights="published")
    own_head = torch.load(design.published.locate(), weights_only=True)
    model.classifier[1].load_state_dict({k: own_head[f"_fc.{k}"] for k in ("weight", "bias")})
    model.eval()

    def probabilities(name, mean=design.mean, std=design.std):
        with torch.no_grad():
            return model(photograph(name, mean, std)).softmax(1)[0]

    assert probabilities("china.jpg").argmax() == PALACE
    assert probabilities("flower.jpg").argmax() == DAISY
    imagenet = architecture("resnet50")
    other = probabilities("flower.jpg", imagenet.mean, imagenet.std)
    assert probabilities("flower.jpg")[DAISY] > 1.5 * other[DAISY]
    assert (report.loaded, report.mismatched) == (294, ())
    assert report.sha256.startswith(Path(design.published.locate()).stem.rpartition("-")[2])
