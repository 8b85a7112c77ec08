"""A crafted program: an error of Hilum when it is read or built, and little memory until then."""

import base64
import json
import zlib

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models.recipes import TracedRecipe, recipe_of
from hilum.models.traced import program_of, trace_instance

BOMB = base64.b64encode(zlib.compress(bytes(10**6))).decode("ascii")


def stored(network):
    data = json.loads(json.dumps(TracedRecipe(program_of(trace_instance(network))).to_json()))
    data["program"].setdefault("constants", {})
    return data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["layers"]["0"].update(kind="Module"), "layer must be one of"),
        (lambda p: p["layers"]["0"].update(options={"dict": [["x", 1]]}), "those of Linear"),
        (
            lambda p: p["layers"]["0"]["options"]["dict"].extend(
                [["in_features", 10**9], ["out_features", 10**9], ["device", "cpu"]]
            ),
            "those of Linear. Got 'device'",
        ),
        (lambda p: p["steps"][0].__setitem__(1, "eval"), "kind of a step"),
        (lambda p: p["steps"].append(["a", "function", "os.system", [], {"dict": []}]), "known"),
        (lambda p: p["steps"].append(["a", "method", "__reduce__", [], {"dict": []}]), "known"),
        (lambda p: p["steps"][0].__setitem__(3, {"tuple": [{"value": "x"}]}), "earlier steps"),
        (lambda p: p["steps"].append(["a", "tensor", "0.forward", [], {"dict": []}]), "a tensor"),
        (lambda p: p["steps"].append(["a", "mode", "__class__", [], {"dict": []}]), "path of a"),
        (
            lambda p: p["constants"].update(a={"shape": [9], "dtype": "int8", "values": BOMB}),
            "of 9 bytes",
        ),
        (
            lambda p: p["constants"].update(a={"shape": [10**10], "dtype": "int8", "values": ""}),
            "parameters must be at most",
        ),
        (lambda p: p["layers"].update({"forward": p["layers"]["0"]}), "no attribute of every"),
        (lambda p: p["layers"].update({"__class__": p["layers"]["0"]}), "path of a layer"),
        (
            lambda p: p["tensors"].update(
                w={"shape": [10**10], "dtype": "float32", "learns": True}
            ),
            "parameters must be at most",
        ),
    ],
)
def test_a_crafted_program_builds_nothing_that_is_in_no_table(change, said):
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    change(data["program"])
    with pytest.raises(InvalidValueError, match=said):
        recipe_of(data).build()


def tensors(**named):
    """Tensors of their own, learnt ones, by shape."""
    return {n: {"shape": s, "dtype": "float32", "learns": True} for n, s in named.items()}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([-1], "whole numbers from 0 on"),
        ([-(10**14)], "whole numbers from 0 on"),
        ([float("inf")], "whole numbers from 0 on"),
        ([1.5], "whole numbers from 0 on"),
        (["3"], "whole numbers from 0 on"),
        ([True], "whole numbers from 0 on"),
        ([10**10, 10**10], "parameters must be at most"),
        ([0, 10**10, 10**10], "parameters must be at most"),
        (3, "recipe is incomplete"),
    ],
)
def test_a_tensor_of_a_crafted_program_has_a_size(shape, said):
    for more in (
        {"tensors": tensors(w=shape)},
        {"constants": {"a": {"shape": shape, "dtype": "int8", "values": BOMB}}},
    ):
        data = stored(nn.Sequential(nn.Linear(1, 1)))
        data["program"].update(more)
        with pytest.raises(InvalidValueError, match=said):
            recipe_of(data).build()


def test_sizes_of_a_crafted_program_add_up():
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    data["program"].update(tensors=tensors(v=[3 * 10**9], w=[3 * 10**9]))
    with pytest.raises(InvalidValueError, match="parameters must be at most"):
        recipe_of(data).build()


@pytest.mark.parametrize("values", ["A", base64.b64encode(b"no zlib").decode("ascii")])
def test_values_of_a_crafted_program_are_bytes(values):
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    data["program"]["constants"] = {"a": {"shape": [2], "dtype": "int8", "values": values}}
    with pytest.raises(InvalidValueError, match="packed bytes"):
        recipe_of(data).build()


@pytest.mark.parametrize("name", ["_inductor", "nn", "qint8", ""])
def test_a_dtype_is_one_of_a_table(name):
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    data["program"]["tensors"] = {"w": {"shape": [1], "dtype": name, "learns": False}}
    with pytest.raises(InvalidValueError, match="dtype must be one of bool"):
        recipe_of(data)
    data["program"]["tensors"] = {}
    data["program"]["steps"][0][4] = {"dict": [["dtype", {"dtype": name}]]}
    with pytest.raises(InvalidValueError, match="dtype must be one of bool"):
        recipe_of(data)


def deep(stacks):
    """Stacks within stacks, each as deep as it is said."""
    block = ["encoder_layer", {"layer": {"kind": "Identity", "options": {"dict": []}}}]
    for depth in stacks:
        items = [["num_layers", depth], ["enable_nested_tensor", False], block]
        stack = {"kind": "TransformerEncoder", "options": {"dict": items}}
        block = ["encoder_layer", {"layer": stack}]
    return stack


@pytest.mark.parametrize(
    "layer",
    [
        deep(stacks=[10**9]),
        deep(stacks=[40, 40]),
        deep(stacks=[10, 1, 11, 10]),
        *(
            {"kind": kind, "options": {"dict": [*map(list, options.items())]}}
            for kind, options in {
                "LSTM": {"input_size": 1, "hidden_size": 1, "num_layers": 10**9},
                "Transformer": {"num_encoder_layers": 1001, "num_decoder_layers": -1000},
            }.items()
        ),
    ],
)
def test_a_few_bytes_do_not_ask_for_millions_of_layers(layer):
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    data["program"]["layers"]["0"] = layer
    with pytest.raises(InvalidValueError, match="depth of layer '0' must be at most 1000"):
        recipe_of(data).build()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["steps"][0].__setitem__(2, "nothing.here"), "calls a layer of the program"),
        (lambda p: p["steps"][0].__setitem__(2, ""), "calls a layer of the program"),
        (lambda p: p.update(shared={"0.weight": "0.nothing"}), "must be a parameter"),
        (lambda p: p.update(shared={"0.weight": "nothing.weight"}), "must be a parameter"),
        (lambda p: p.update(shared={"0.weight": "forward.weight"}), "must be a parameter"),
        (lambda p: p.update(shared={"0.weight": ""}), "must be a parameter"),
        (lambda p: p.update(shared={"0.weight": "0.bias"}), "of one shape and dtype"),
        (lambda p: p.update(shared={"0.forward": "0.bias"}), "no attribute of every"),
        (lambda p: p["steps"][0].append(["x", True]), "asks for a mode"),
        (lambda p: p["steps"][0].append(["nothing", True]), "earlier steps"),
        (lambda p: p["steps"][0].append(["x"]), "recipe is incomplete"),
        (lambda p: p["steps"][0].__setitem__(3, {"device": "?"}), "recipe is incomplete"),
        (lambda p: p["steps"][0].__setitem__(3, {"value": ["x"]}), "a list and a dict"),
        (lambda p: p["steps"][0].__setitem__(3, [{"value": ["x"]}]), "earlier steps"),
        (lambda p: p["steps"][0].__setitem__(4, []), "a list and a dict"),
    ],
)
def test_a_step_of_a_crafted_program_is_checked_when_it_is_built(change, said):
    data = stored(nn.Sequential(nn.Linear(1, 1)))
    given = data["program"]["inputs"][0]
    change(data["program"])
    for step in data["program"]["steps"]:
        if step[5:] == [["x", True]]:
            step[5][0] = given
    with pytest.raises(InvalidValueError, match=said):
        recipe_of(data).build()


def computed(steps):
    """The value of the last of these steps, after the network's own."""
    data = stored(nn.Sequential(nn.Linear(2, 2)))
    for n, (kind, target, *args) in enumerate(steps):
        data["program"]["steps"].append([f"s{n}", kind, target, {"tuple": args}, {"dict": []}])
    data["program"]["result"] = {"value": f"s{len(steps) - 1}"}
    return recipe_of(data).build()(torch.ones(3, 2))


@pytest.mark.parametrize(
    ("target", "args"),
    [
        ("operator.mul", ["a", 10**11]),
        ("operator.mul", [10**11, "a"]),
        ("operator.mul", [[1], 10**11]),
        ("operator.imul", [{"tuple": [1, 2]}, 10**11]),
        ("operator.mul", [2**64, 2**64]),
        ("operator.mod", ["%999999999d", 1]),
        ("operator.add", ["a", "b"]),
        ("operator.add", [[0] * 9_000, [0] * 9_000]),
        ("operator.pow", [10, 10**9]),
        ("operator.ipow", [10, 10**9]),
        ("math.prod", [[{"tuple": ["a"]}, 10**11]]),
        ("math.prod", [["a", 10**11]]),
        ("math.prod", [[2**64] * 9]),
    ],
)
def test_plain_values_of_a_crafted_program_stay_small(target, args):
    with pytest.raises(InvalidValueError, match="must be"):
        computed([("function", target, *args)])


def test_plain_values_of_sane_size_are_computed():
    assert computed([("function", "operator.mul", {"tuple": [2, 3]}, 2)]) == (2, 3, 2, 3)
    assert computed([("function", "operator.mul", [2], -1)]) == []
    assert computed([("function", "operator.pow", 2, 10)]) == 1024
    assert computed([("function", "operator.pow", 2.0, -1)]) == 0.5
    assert computed([("function", "math.prod", [2, 3, 0.5])]) == 3.0
    assert computed([("function", "operator.add", {"value": "_0"}, 2.5)]).shape == (3, 2)


@pytest.mark.parametrize(
    "step",
    [
        ("function", "torch.empty", 2, 1000),
        ("function", "torch.empty_like", {"value": "input_1"}),
        ("method", "new_empty", {"value": "input_1"}, {"tuple": [1000]}),
    ],
)
def test_nobody_sees_what_lay_in_memory_before(step):
    assert not computed([step]).any()
