from hypothesis import given
from hypothesis import strategies as st

from hilum.training import EpochRecord, History

number = st.floats(0, 10, allow_nan=False)
maybe = st.none() | number


def record(epoch, train_loss=1.0, valid_loss=None, valid_mean_auroc=None):
    return EpochRecord(
        epoch=epoch,
        step=10 * (epoch + 1),
        train_loss=train_loss,
        valid_loss=valid_loss,
        valid_mean_auroc=valid_mean_auroc,
        lr=1e-3,
        images_per_s=5.0,
        seconds=2.0,
    )


def history(*records):
    return History(tuple(records))


@given(st.lists(st.tuples(number, maybe, maybe), max_size=5))
def test_json_round_trip(rows):
    before = history(*(record(i, *row) for i, row in enumerate(rows)))
    assert History.from_json(before.to_json()) == before


def test_best_is_the_lowest_validation_loss_or_the_highest_auc_where_asked():
    both = history(record(0, 1, 1, 0.7), record(1, 1, 2, 0.9), record(2, 1, 0.5, 0.8))
    assert both.best().epoch == 2
    assert both.best("valid_mean_auroc").epoch == 1


def test_without_auc_best_is_the_lowest_validation_loss():
    assert (
        history(record(0, 1, 2.0), record(1, 3, 1.0), record(2, 0, 1.5))
        .best("valid_mean_auroc")
        .epoch
        == 1
    )


def test_without_validation_best_is_the_lowest_training_loss():
    assert history(record(0, 1.0), record(1, 0.5), record(2, 0.7)).best().epoch == 1


def test_the_schedule_watches_validation_loss_and_falls_back_to_training_loss():
    seen = history(record(0, 5.0, 1.0), record(1, 4.0)).measurements()
    assert [(m.step, m.value) for m in seen] == [(10, 1.0), (20, 4.0)]


def test_an_empty_history_has_no_best():
    assert History().best() is None
