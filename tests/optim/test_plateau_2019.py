"""The 2019 Plateau as its source has it, and what follows from it for the paper's run."""

from hypothesis import given
from hypothesis import strategies as st

from hilum.optim import Measurement, Plateau2019, ReduceOnPlateau, simulate


def per_epoch(values):
    return [Measurement(epoch + 1, value) for epoch, value in enumerate(values)]


def as_in_bigdl(values, *, base, factor, patience, epsilon, cooldown, min_lr):
    """Rates after each epoch, by the state machine of the Scala source."""
    best, wait, cooldown_counter, rate = float("inf"), 0, 0, base
    rates = [rate]
    for value in values:
        if cooldown_counter > 0:
            cooldown_counter -= 1
            wait = 0
        if value < best - epsilon:
            best, wait = value, 0
        elif not cooldown_counter > 0:
            if wait >= patience:
                if rate > min_lr:
                    rate = max(rate * factor, min_lr)
                    cooldown_counter, wait = cooldown, 0
            wait += 1
        rates.append(rate)
    return rates


@given(
    values=st.lists(st.floats(0, 2), max_size=30),
    patience=st.integers(0, 3),
    epsilon=st.sampled_from([0.0, 1e-4, 0.01]),
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0.0, 0.2]),
)
def test_it_cuts_when_the_2019_code_did(values, patience, epsilon, cooldown, min_lr):
    settings = {
        "base": 1.0,
        "factor": 0.5,
        "patience": patience,
        "epsilon": epsilon,
        "cooldown": cooldown,
        "min_lr": min_lr,
    }
    schedule, expected = Plateau2019(**settings), as_in_bigdl(values, **settings)
    assert simulate(schedule, len(values) + 1, per_epoch(values)) == expected


def test_after_the_first_cut_every_bad_epoch_cuts_again():
    flat = per_epoch([0.18] + [0.18] * 5)
    old = simulate(Plateau2019(base=1.0, patience=1), 7, flat)
    sound = simulate(ReduceOnPlateau(base=1.0, patience=1), 7, flat)
    assert [round(rate, 8) for rate in old] == [1, 1, 1, 0.1, 0.01, 0.001, 0.0001]
    assert [round(rate, 8) for rate in sound] == [1, 1, 1, 0.1, 0.1, 0.01, 0.01]


def test_the_papers_epsilon_ends_its_training_after_a_few_epochs():
    """A loss that falls from 0.18 to 0.15 in 15 epochs never falls by 0.01 in one."""
    falling = per_epoch([0.18 - 0.002 * epoch for epoch in range(15)])
    paper = Plateau2019(base=1e-4, patience=1, epsilon=0.01, min_lr=1e-15)
    assert paper.lr(15, falling) < 1e-6
    assert ReduceOnPlateau(base=1e-4, patience=1).lr(15, falling) == 1e-4
