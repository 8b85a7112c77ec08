"""`hilum schedule`: what a run's learning rate will be, before the run."""

import json

import pytest

from hilum.optim import SCHEDULES, Cosine, schedule_to_json


def test_every_name_is_listed_and_can_be_drawn(hilum):
    listed = hilum("schedule", "list").out
    for name in SCHEDULES:
        assert name in listed
        drawn = hilum("schedule", "plot", name, "--epochs", 4, "--steps-per-epoch", 10)
        assert drawn.code == 0
        assert drawn.out.count("*") > 10, name


def test_a_plateau_is_drawn_for_given_measurements(hilum):
    arguments = ("schedule", "plot", "plateau", "--epochs", 6, "--warmup-epochs", 0, "--log")
    flat, cut = hilum(*arguments), hilum(*arguments, "--measured", "0.2,0.2,0.2,0.2")
    rows = [sum("*" in line for line in answer.out.splitlines()) for answer in (flat, cut)]
    assert rows == [1, 2]


def test_a_picture_is_written(hilum, tmp_path):
    out = tmp_path / "new" / "lr.png"
    assert hilum("schedule", "plot", "cosine", "--out", out).code == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    refused = hilum("schedule", "plot", "cosine", "--out", tmp_path / "lr.gif")
    assert refused.code == 1
    assert "--out must be a file that ends in .png" in refused.err


def test_a_named_schedule_can_be_taken_as_json_and_changed(hilum):
    text = hilum("schedule", "plot", "cosine", "--warmup-epochs", 0, "--json").out
    assert json.loads(text) == schedule_to_json(Cosine(base=3e-4, steps=800))
    again = hilum("schedule", "plot", text.replace("800", "400"), "--json").out
    assert json.loads(again)["steps"] == 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("saw",), "schedule must be"), (("plateau", "--measured", "a,b"), "--measured must be")],
)
def test_a_mistake_is_one_message(hilum, arguments, message):
    refused = hilum("schedule", "plot", *arguments)
    assert refused.code == 1
    assert message in refused.err
