"""`hilum network` and `hilum networks`: what a network is, before anything is trained."""

import xml.etree.ElementTree as ElementTree


def test_a_network_is_told_by_name_and_drawn(hilum, tmp_path):
    out = tmp_path / "new" / "resnet18.svg"
    told = hilum("network", "resnet18", "--size", 64, "--svg", out)
    assert told.code == 0
    assert "input 3 x 64 x 64" in told.out
    assert "2 x BasicBlock" in told.out
    assert "11,689,512 parameters" in told.out
    assert ElementTree.parse(out).getroot().tag.endswith("svg")


def test_only_a_part_is_told_by_the_names_of_2019_and_every_layer_if_wanted(hilum):
    told = hilum("network", "resnet18", "--cut", "res3b", "--layers")
    lines = told.out.splitlines()
    assert lines[-2].split()[:2] == ["layer2.1.add", "add"]
    assert "layer1.0.conv1" in told.out
    refused = hilum("network", "resnet18", "--cut", "res9z")
    assert refused.code == 1
    assert "Got 'res9z'" in refused.err


def test_mistakes_are_one_message(hilum, tmp_path):
    refused = hilum("network", "resnet18", "--svg", tmp_path / "a.png")
    assert refused.code == 1
    assert "--svg must be a file that ends in .svg" in refused.err
    assert "Got 'resnet51'" in hilum("network", "resnet51").err


def test_topologies_are_listed_with_what_they_want_to_see(hilum):
    rows = {line.split()[0]: line for line in hilum("networks").out.splitlines()}
    assert "299 px  0.5 0.5 0.5" in rows["inception_v3"]
    assert "0.485 0.456 0.406  0.229 0.224 0.225" in rows["densenet161"]
    assert "pool5/drop_7x7_s1" in rows["inception_v1"]
