"""Files of models are taken for hostile: a network or an error of Hilum, whatever the bytes."""

import resource
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import wire_writer as wire
from hilum.errors import HilumError, InvalidValueError
from hilum.models.recipes import LoadedModel
from hilum.models.roads.bigdl import load_bigdl
from hilum.models.roads.bigdl_tensors import read_weights_file
from hilum.models.roads.caffe import load_caffe
from hilum.models.roads.tensorflow import load_frozen_graph
from hilum.models.roads.text_format import read_tree
from hilum.models.roads.wire import read_message
from road_values import DATA

MAX_BYTES = 256 << 20  # a network of 20 KB takes 1 MB

fuzz = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported():
    """What PyTorch imports on first use would be counted, slowly, as memory of the file."""
    load_frozen_graph(DATA / "nhwc.pb", "image", "prob")


@st.composite
def damages(draw):
    """What happens to bytes: some change, some go, some are doubled, the end is lost."""
    kind = draw(st.sampled_from(["flip", "cut", "drop", "splice", "insert"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=6))
    return kind, places, draw(st.binary(min_size=1, max_size=8))


def damaged(data, damage):
    kind, places, fresh = damage
    spots = sorted(int(place * len(data)) for place in places)
    if kind == "cut":
        return data[: spots[0]]
    if kind == "drop":
        return data[: spots[0]] + data[spots[1] :]
    if kind == "splice":
        return data[: spots[-1]] + data[spots[0] :]
    if kind == "insert":
        return data[: spots[0]] + fresh + data[spots[0] :]
    changed = bytearray(data)
    for spot, byte in zip(spots, fresh, strict=False):
        changed[spot] = byte
    return bytes(changed)


def survives(load):
    """A network or an error of ours, within bounds."""
    tracemalloc.start()
    try:
        assert isinstance(load(), LoadedModel)
    except HilumError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MAX_BYTES


@fuzz
@given(damages())
def test_a_damaged_bigdl_file_is_an_error_or_a_network(tmp_path: Path, damage):
    path = tmp_path / "model.bigdl"
    path.write_bytes(damaged((DATA / "small.bigdl").read_bytes(), damage))
    survives(lambda: load_bigdl(path))


@fuzz
@given(damages())
def test_a_damaged_frozen_graph_is_an_error_or_a_network(tmp_path: Path, damage):
    path = tmp_path / "graph.pb"
    path.write_bytes(damaged((DATA / "nhwc.pb").read_bytes(), damage))
    survives(lambda: load_frozen_graph(path, "image", "prob"))


@fuzz
@given(damages(), damages())
def test_damaged_caffe_files_are_an_error_or_a_network(tmp_path: Path, damage, other):
    definition, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    definition.write_bytes(damaged((DATA / "small.prototxt").read_bytes(), damage))
    weights.write_bytes((DATA / "small.caffemodel").read_bytes())
    survives(lambda: load_caffe(definition, weights))
    weights.write_bytes(damaged((DATA / "small.caffemodel").read_bytes(), other))
    survives(lambda: load_caffe(DATA / "small.prototxt", weights))


HEAD = (3721).to_bytes(4, "big")


@fuzz
@given(st.binary(max_size=60))
@example(HEAD + b"\xff" * 4)
@example(HEAD + b"\x7f\xff\xff\xff" + b"\0" * 12)
@example(HEAD + b"\0\0\0\1" + b"\0" * 8 + b"\xff\xff\xff\xff")
def test_any_bytes_are_no_weights_of_bigdl(data):
    for content in (data, HEAD + data):
        with pytest.raises(HilumError):
            read_weights_file(content)


@fuzz
@given(st.text(max_size=80))
@example("a: [1, 2")
@example("a { b: 'c' d < e: 1 > }")
def test_any_text_is_a_tree_or_an_error(text):
    try:
        read_tree(text, "a text")
    except InvalidValueError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"\x80" * 20,  # a number that does not end
        wire.varint(1 << 3 | 2) + wire.varint(1 << 62),  # a field of exabytes
        b"\x0b\x0c",  # a group, which nobody has written since 2008
        b"\x0a",
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(InvalidValueError, match="whole file in protocol buffers"):
        read_message(data, "a model")


def test_a_file_of_many_small_fields_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("hilum.models.roads.wire.MAX_FIELDS", 1000)
    with pytest.raises(InvalidValueError, match="at most 1,000 fields"):
        read_message(b"\x08\x01" * 1001, "a model")
    packed = read_message(wire.packed(1, range(2000)), "a model")
    with pytest.raises(InvalidValueError, match="at most 1,000 fields"):
        packed.integers(1)


def test_absurdly_large_files_are_not_read(tmp_path):
    path = tmp_path / "graph.pb"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no room
    with pytest.raises(InvalidValueError, match="a file of at most"):
        load_frozen_graph(path, "image", "prob")


def test_a_definition_cannot_claim_more_than_its_weights_hold(tmp_path):
    """Two billion inputs in 40 bytes: refused before anything is allocated."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = 'input: "data" layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" '
    text += "inner_product_param { num_output: 2000000000 } }"
    blob = wire.block(7, wire.floats(5, [1.0]))
    (tmp_path / "net.prototxt").write_text(text, encoding="utf-8")
    (tmp_path / "net.caffemodel").write_bytes(wire.block(100, wire.block(1, "fc") + blob + blob))
    with pytest.raises(InvalidValueError):
        load_caffe(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < MAX_BYTES // 1024
