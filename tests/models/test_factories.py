"""A network that a function makes travels by the function's name, and no other function runs."""

import copy
import json
import sys

import pytest
import torch
from torch import nn

import any_models
from any_models import small_net
from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.models import FactoryRecipe, factory, network_factory
from hilum.models.factories import is_factory_name
from hilum.models.recipes import recipe_of


def test_a_function_and_its_name_are_the_same_recipe():
    recipe = factory(small_net, width=4)
    assert recipe == factory("any_models:small_net", width=4)
    assert recipe.callable == "any_models:small_net"
    assert copy.deepcopy(recipe) == recipe
    assert recipe_of(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert list(recipe.build().state_dict()) == list(small_net(4).state_dict())


def test_build_waits_for_a_state_dict_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    network = factory(small_net).build()
    assert torch.equal(torch.get_rng_state(), before)
    assert all((parameter == 0).all() for parameter in network.parameters())


def lambda_net():
    return lambda: nn.Linear(1, 1)


def nested():
    @network_factory
    def inner() -> nn.Module:
        return nn.Linear(1, 1)

    return inner


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda_net(), "others can import"),
        (nested(), "others can import"),
        ("__main__:net", "others can import"),
        ("no colon", "others can import"),
        ("any_models:not_marked", "marked with @hilum.models.network_factory"),
        ("any_models:Untraceable", "marked with"),
    ],
)
def test_what_nobody_else_could_find_or_may_call_is_refused_with_the_way_out(given, said):
    with pytest.raises(InvalidValueError, match=said) as caught:
        factory(given)
    assert "Hint" in str(caught.value)


@pytest.mark.parametrize("name", ["no_such_module:net", "any_models:no_such_net"])
def test_what_cannot_be_imported_names_py_files(name):
    with pytest.raises(MissingDependencyError, match="--py-files"):
        factory(name)


def test_a_function_that_was_replaced_since_is_not_taken_for_the_one_of_that_name(monkeypatch):
    @network_factory
    def small_net():
        return nn.Linear(1, 1)

    small_net.__qualname__, small_net.__module__ = "small_net", "any_models"
    with pytest.raises(InvalidValueError, match="what any_models:small_net is"):
        factory(small_net)


def test_a_stored_recipe_calls_no_function_that_is_not_marked(tmp_path, monkeypatch):
    (tmp_path / "innocent.py").write_text(
        "from pathlib import Path\ndef touch(path):\n    Path(path).touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, options in (
        ("innocent:touch", {"path": str(tmp_path / "called")}),
        ("os:system", {"command": f"touch {tmp_path / 'called'}"}),
    ):
        recipe = recipe_of({"kind": "factory", "callable": name, "options": options})
        with pytest.raises(InvalidValueError, match="marked"):
            recipe.build()
    assert not (tmp_path / "called").exists()
    assert "innocent" in sys.modules, "it was found, and not called"


@pytest.mark.parametrize(
    "options", [{"width": {1, 2}}, {"width": float("nan")}, {"net": nn.ReLU()}]
)
def test_options_must_be_plain(options):
    with pytest.raises(InvalidValueError, match="plain values"):
        FactoryRecipe("any_models:small_net", options)


def test_a_function_that_returns_no_network_is_said():
    with pytest.raises(InvalidValueError, match=r"any_models:no_net returns must be .* Got 'int'"):
        factory(any_models.no_net).build()


def test_names_of_libraries_are_no_functions():
    assert is_factory_name("my_package.nets:chest_net")
    for name in ("timm:resnet18", "torchvision:resnet18", "resnet50", "s3://nets:a", "C:\\a:b"):
        assert not is_factory_name(name), name
