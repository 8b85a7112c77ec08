"""What people see while a run goes on: on a terminal, in a log, in a notebook."""

import io
import re
import time

import pytest
from rich.console import Console

from hilum import storage
from hilum.spark.display import show_progress
from hilum.training import EpochRecord, History
from hilum.training.progress import Progress, ProgressWriter


def record(epoch, **changes):
    values = {
        "epoch": epoch,
        "step": 7 * (epoch + 1),
        "train_loss": 0.5,
        "valid_loss": None,
        "valid_mean_auroc": None,
        "lr": 1e-3,
        "images_per_s": 12.34,
        "seconds": 2.0,
    }
    return EpochRecord(**{**values, **changes})


def publish(run, *records, phase="training"):
    run = str(run)
    storage.write_json(f"{run}/history.json", History(records).to_json())
    progress = Progress(
        phase=phase,
        epoch=len(records),
        max_epochs=3,
        step=2,
        num_steps=7,
        images_per_s=9.0,
        loss=0.25,
        lr=1e-4,
        seconds_left=3661.0,
    )
    with ProgressWriter(run) as writer:
        writer.write(progress)


@pytest.fixture
def quick(monkeypatch):
    """Look often, so that the test need not wait."""
    monkeypatch.setattr("hilum.spark.display.REFRESH_S", 0.02)


def test_a_log_gets_a_line_per_validation_and_nothing_that_moves(tmp_path, quick):
    out = io.StringIO()
    with show_progress(str(tmp_path), Console(file=out, width=200)):
        publish(tmp_path, record(0), record(1, valid_loss=0.4, valid_mean_auroc=0.75))
    assert out.getvalue().splitlines() == [
        "epoch 1/3  step 7  loss 0.5000  valid loss -  valid mean AUC -  lr 1.00e-03  "
        "12.3 img/s  2.0 s",
        "epoch 2/3  step 14  loss 0.5000  valid loss 0.4000  valid mean AUC 0.7500  lr 1.00e-03  "
        "12.3 img/s  2.0 s",
    ]


def test_a_terminal_has_a_live_line_that_goes_away(tmp_path, quick):
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True)
    publish(tmp_path)
    with show_progress(str(tmp_path), console):
        time.sleep(0.6)
    assert "step 2/7" in out.getvalue()
    assert "1:01:01 left" in out.getvalue()
    assert out.getvalue().rstrip("\n").endswith("\x1b[2K"), "the line is erased"


def test_a_warning_is_said_once(tmp_path, quick):
    out = io.StringIO()
    with show_progress(str(tmp_path), Console(file=out, width=200)):
        warned = Progress(phase="training", max_epochs=3, warning="disk full: [Errno 28]")
        with ProgressWriter(str(tmp_path)) as writer:
            writer.write(warned)
        time.sleep(0.2)
    assert out.getvalue() == "warning: disk full: [Errno 28]\n"


def test_a_missing_tensorboard_is_said_with_the_way_out(tmp_path, quick, monkeypatch):
    monkeypatch.setattr("hilum.spark.display.has_tensorboard", lambda: False)
    out = io.StringIO()
    with show_progress(str(tmp_path), Console(file=out, width=200)):
        pass
    assert "pip install 'hilum[tensorboard]'" in out.getvalue()


def test_a_resumed_run_shows_only_what_is_new(tmp_path, quick):
    publish(tmp_path, record(0), record(1))
    out = io.StringIO()
    with show_progress(str(tmp_path), Console(file=out, width=200)):
        publish(tmp_path, record(0), record(1), record(2))
    assert [line.partition("  ")[0] for line in out.getvalue().splitlines()] == ["epoch 3/3"]


def test_a_notebook_gets_a_table_that_grows_and_a_bar_while_it_runs(tmp_path, quick):
    ipython = pytest.importorskip("IPython", reason="needs IPython")
    from IPython.utils.capture import capture_output

    shell = ipython.core.interactiveshell.InteractiveShell.instance(history_load_length=0)
    try:
        with (
            capture_output() as captured,
            show_progress(str(tmp_path), Console(force_jupyter=True)),
        ):
            publish(tmp_path, record(0), record(1, valid_loss=0.4))
            time.sleep(0.3)
            publish(tmp_path, record(0), record(1, valid_loss=0.4), phase="done")
    finally:
        shell.history_manager.end_session()
        type(shell).clear_instance()
    pages = [output.data["text/html"] for output in captured.outputs]
    assert len({tuple(output.transient.items()) for output in captured.outputs}) == 1, "one place"
    assert '<progress value="2" max="7">' in pages[-2]
    assert "progress" not in pages[-1]
    cells = re.findall(r"<td>(.*?)</td>", pages[-1])
    assert cells[8:12] == ["2/3", "14", "0.5000", "0.4000"]
