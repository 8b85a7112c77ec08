"""Schedules by name: each begins and ends where it says, whatever the length of the run."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.optim import (
    SCHEDULES,
    Cosine,
    Measurement,
    Span,
    paper_schedule,
    schedule_of,
    schedule_to_json,
    simulate,
    text_plot,
)

OWN_WARMUP = ("paper", "one_cycle")
WATCHING = ("plateau", "plateau_2019", "paper")


def span(**changes):
    return Span(
        **{"peak": 0.1, "steps": 120, "steps_per_epoch": 12, "warmup_epochs": 1.0} | changes
    )


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in OWN_WARMUP])
def test_a_named_schedule_warms_up_to_the_peak_and_never_rises_again(name):
    rates = simulate(schedule_of(name, span()), 120)
    assert rates[:12] == pytest.approx([0.1 * (step + 1) / 12 for step in range(12)], rel=0.1)
    assert rates[0] == pytest.approx(0.1 / 12)
    assert max(rates) == rates[12] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates[12:]))


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("cosine", 0.0),
        ("constant", 1.0),
        ("step", 0.01),
        ("multistep", 0.01),
        ("polynomial", 0.0),
        ("exponential", 0.01),
        ("plateau", 1.0),
        ("one_cycle", 0.0),
    ],
)
def test_a_named_schedule_ends_where_its_meaning_says(name, last):
    end = schedule_of(name, span()).lr(119, ())
    assert end / 0.1 == pytest.approx(last, abs=2e-3)


@given(
    steps=st.integers(1, 50),
    steps_per_epoch=st.integers(1, 60),
    warmup_epochs=st.floats(0, 3),
    name=st.sampled_from(sorted(SCHEDULES)),
)
def test_every_name_gives_rates_for_runs_of_any_length(steps, steps_per_epoch, warmup_epochs, name):
    schedule = schedule_of(
        name, span(steps=steps, steps_per_epoch=steps_per_epoch, warmup_epochs=warmup_epochs)
    )
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in simulate(schedule, steps + 5))


def test_the_watching_ones_cut_when_nothing_improves():
    bad = [Measurement(12 * epoch, 0.15) for epoch in range(1, 40)]
    for name in SCHEDULES:
        schedule = schedule_of(name, span())
        watches = schedule.lr(300, bad) < schedule.lr(300, ())
        assert watches is (name in WATCHING), name


def test_the_papers_schedule_is_one_name_with_its_own_numbers():
    assert schedule_of("paper", span(peak=3.0, warmup_epochs=0.0)) == paper_schedule(12)


def test_a_schedule_can_be_written_as_json():
    wanted = Cosine(base=0.2, steps=7, end=0.1)
    assert schedule_of(json.dumps(schedule_to_json(wanted)), span()) == wanted


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_named_schedule_is_the_same_after_a_way_through_json(name):
    schedule = schedule_of(name, span())
    assert schedule_of(json.dumps(schedule_to_json(schedule)), span(steps=7)) == schedule


@pytest.mark.parametrize("text", ["saw", "", '{"type": "Saw"}', "{", '{"type": "Cosine"}'])
def test_what_is_neither_name_nor_json_is_refused(text):
    with pytest.raises(InvalidValueError, match=r"^schedule must be"):
        schedule_of(text, span())


@pytest.mark.parametrize(
    "fields", [{"peak": math.inf}, {"steps": 0}, {"steps_per_epoch": 0}, {"warmup_epochs": -1.0}]
)
def test_a_run_without_steps_has_no_schedule(fields):
    with pytest.raises(InvalidValueError):
        span(**fields)


def test_a_curve_in_letters_has_its_star_where_the_rate_is():
    drawn = text_plot([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], width=4, height=4).splitlines()
    assert drawn == [
        " 3.00e+00 |   *",
        " 2.00e+00 |  *",
        " 1.00e+00 | *",
        " 0.00e+00 |*",
        "          +----",
        "     step  0  3",
    ]


def test_a_logarithmic_curve_leaves_out_zero():
    drawn = text_plot([0, 1, 2], [0.0, 1e-3, 1e-1], width=3, height=3, log=True).splitlines()
    assert [line[11:] for line in drawn[:3]] == ["  *", "", " *"]
    assert drawn[1].startswith(" 1.00e-02")
    with pytest.raises(InvalidValueError, match="rates must be above 0"):
        text_plot([0], [0.0], log=True)
    with pytest.raises(InvalidValueError, match="rates must be as many as steps"):
        text_plot([], [])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(2, 90), st.integers(2, 30))
def test_any_curve_fits_its_frame(rates, width, height):
    lines = text_plot(range(len(rates)), rates, width=width, height=height).splitlines()
    assert len(lines) == height + 2
    assert all(len(line) <= width + 12 for line in lines[:-1])
