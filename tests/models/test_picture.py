"""Pictures of networks: readable, complete, and safe with names from files of others."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

from hilum.errors import InvalidValueError
from hilum.models.graph import NetworkSpec, Node
from hilum.models.inspection import blueprint, nodes
from hilum.models.pictures.blocks import blocks_inside, blocks_of
from hilum.models.pictures.drawing import MAX_BLOCKS
from hilum.models.pictures.layering import layered
from hilum.models.recipes import GraphRecipe, LoadedModel
from hilum.models.surgery import freeze, picture_svg, picture_text
from hilum.models.weights import WeightsReport

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def graph(*named, outputs):
    spec = NetworkSpec(inputs=("data",), nodes=named, outputs=outputs)
    recipe = GraphRecipe(spec)
    report = WeightsReport(source="", kind="random")
    return LoadedModel(network=recipe.build(), recipe=recipe, report=report)


def conv(name, source, channels=3, size=1):
    options = {"in_channels": channels, "out_channels": 3, "kernel_size": size}
    return Node(name=name, layer="Conv2d", options=options, inputs=(source,))


def residual(name, source):
    """A block with a short cut, as Caffe files hold it: nothing says that it is one."""
    return (
        conv(f"{name}_branch2a", source),
        Node(name=f"{name}_branch2a_relu", layer="ReLU", inputs=(f"{name}_branch2a",)),
        conv(f"{name}_branch2b", f"{name}_branch2a_relu"),
        Node(name=name, layer="Add", inputs=(source, f"{name}_branch2b")),
        Node(name=f"{name}_relu", layer="ReLU", inputs=(name,)),
    )


def test_resnet50_fits_on_a_screen_as_text():
    loaded = blueprint("resnet50")
    lines = picture_text(loaded).splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) < 130
    assert lines[0] == "input 3 x 224 x 224"
    row = next(line for line in lines if line.startswith("layer3.1 ... 5"))
    assert "5 x Bottleneck" in row
    assert "1024 x 14 x 14" in row
    assert row.split()[-1] == "yes"
    assert lines[-1] == "25,557,032 parameters; 4.09 G multiply-adds an image"


def test_what_is_frozen_is_said_and_seen():
    loaded = blueprint("resnet18")
    plain = picture_svg(loaded)
    freeze(loaded, up_to="layer2")
    text, svg = picture_text(loaded), picture_svg(loaded)
    learns = {line.split()[0]: line.split()[-1] for line in text.splitlines()[2:-1]}
    assert (learns["layer2.0"], learns["layer3.0"], learns["maxpool"]) == ("no", "yes", "56")
    assert "of them learn" in text.splitlines()[-1]
    assert 'fill="url(#ice)"' in svg
    assert 'fill="url(#ice)"' not in plain


@pytest.mark.parametrize(
    ("name", "block", "count"),
    [
        ("resnet50", "Bottleneck", 16),
        ("googlenet", "Inception", 9),
        ("densenet121", "_DenseBlock", 4),
        ("convnext_tiny", "CNBlock", 18),
        ("torchvision:vit_b_16", "EncoderBlock", 12),
        ("efficientnet_lite0", "InvertedResidual", 15),
    ],
)
def test_blocks_are_the_modules_a_paper_would_draw(name, block, count):
    listed = nodes(blueprint(name))
    blocks = blocks_of(listed)
    assert sum(b.count for b in blocks if b.kind == block) == count
    assert [node for b in blocks for node in b.nodes] == list(listed)
    assert len(blocks) < 30


def test_blocks_of_a_file_are_what_lies_between_two_points_that_everything_passes():
    named = (conv("conv1", "data"), *residual("res2a", "conv1"), *residual("res2b", "res2a_relu"))
    loaded = graph(*named, outputs=("res2b_relu",))
    blocks = blocks_of(nodes(loaded, (3, 8, 8)))
    assert [(b.name, b.kind, b.count) for b in blocks] == [
        ("conv1", "Conv2d", 1),
        ("res2a ... 2b", "block of 4 layers + ReLU", 2),
    ]
    inside = blocks_inside(blocks[1])
    assert [b.name for b in inside] == ["res2a_branch2a", "res2a_branch2b", "res2a"]
    assert [b.inputs for b in inside] == [(-1,), (0,), (-1, 1)]


def test_the_inside_of_a_bottleneck_is_drawn_with_its_short_cut():
    block = next(b for b in blocks_of(nodes(blueprint("resnet50"))) if b.name == "layer1.0")
    inside = {b.name: b for b in blocks_inside(block)}
    names = list(inside)
    assert names == ["conv1", "conv2", "conv3", "downsample.0", "add"]
    assert inside["downsample.0"].inputs == (-1,)
    assert inside["add"].inputs == (names.index("conv3"), names.index("downsample.0"))


def test_the_drawing_holds_every_block_and_is_well_formed():
    for name in ("resnet50", "googlenet", "densenet121"):
        loaded = blueprint(name)
        svg = picture_svg(loaded, title="A & B")
        assert "A & B" in texts(svg)
        titles = {element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}title")}
        for block in blocks_of(nodes(loaded)):
            assert any(str(title).startswith(f"{block.name}; {block.kind}") for title in titles)
        assert len(svg) < 100_000


def test_the_picture_in_the_docs_is_what_is_drawn():
    loaded = blueprint("resnet50")
    freeze(loaded, up_to="res3d_relu")
    page = Path(__file__).resolve().parents[2] / "docs" / "images" / "resnet50.svg"
    assert page.read_text(encoding="utf-8") == picture_svg(loaded)


def test_names_from_files_of_others_do_nothing_in_a_drawing():
    evil = "<script>alert(1)</script>&'"
    loaded = graph(conv(evil, "data"), outputs=(evil,))
    svg = picture_svg(loaded, (3, 4, 4), title=f"{evil}\x1b[31m\x00")
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert f"{SVG}script" not in tags
    assert "\x1b" not in svg + picture_text(loaded, (3, 4, 4))


def test_more_blocks_than_can_be_looked_at_are_refused():
    sources = ["data", *(f"c{i}" for i in range(MAX_BLOCKS))]
    named = [conv(f"c{i}", source, size=2) for i, source in enumerate(sources)]
    loaded = graph(*named, outputs=(f"c{MAX_BLOCKS}",))
    with pytest.raises(InvalidValueError, match="at most 300 blocks"):
        picture_svg(loaded, (3, 400, 400))


def test_boxes_of_a_row_do_not_overlap_and_lines_pass_between_them():
    edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 5), (4, 6), (5, 6), (0, 6)]
    layout = layered(7, edges)
    assert layout.row == (0, 1, 1, 1, 2, 2, 3)
    for row in set(layout.row):
        boxes = [layout.centre[box] for box in range(7) if layout.row[box] == row]
        passing = [c for line in layout.lines.values() for r, c in line[1:-1] if r == row]
        spots = sorted([(c, 0.5) for c in boxes] + [(c, 0.14) for c in passing])
        for (left, half), (right, other) in pairwise(spots):
            assert right - left >= half + other
    assert min(layout.centre) >= 0.5
    assert layout.width >= max(layout.centre) + 0.5
