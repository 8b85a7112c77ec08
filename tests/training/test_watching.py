"""What a run leaves for people to look at: event files, history as CSV and picture, MLflow."""

import csv
import io
import logging
import shutil

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.training import EpochRecord, History, LocalLauncher, load_history, train_worker
from hilum.training.event_files import EventFiles, flat_settings
from hilum.training.run_folder import RunFolder, learning_rates
from hilum.training.summaries import Guarded
from hilum.training.tracking import MLflowObserver, begin_mlflow_run, followed_by_mlflow
from hilum.training.triggers import Every
from training_cases import OUTPUTS, config

ONE_THREAD = LocalLauncher(num_threads=1)


def record(epoch, **changes):
    values = {
        "epoch": epoch,
        "step": 4 * (epoch + 1),
        "train_loss": 0.7 - 0.1 * epoch,
        "valid_loss": 0.8 - 0.1 * epoch,
        "valid_mean_auroc": 0.75,
        "valid_auroc": (0.75, None),
        "lr": 1e-3,
        "images_per_s": 20.0,
        "seconds": 2.0,
    }
    return EpochRecord(**{**values, **changes})


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def curve(folder, tag):
    return [(event.step, round(event.value, 6)) for event in events(folder).Scalars(tag)]


@pytest.fixture(scope="module")
def network():
    return nn.Linear(3, 2)


def test_a_run_leaves_event_files_a_table_a_picture_and_the_machine(make_run):
    run = make_run(summarise_every=Every(steps=1), histograms=True)
    ONE_THREAD.launch(train_worker, run, 1)
    history = load_history(run)
    found = events(f"{run}/tensorboard")
    assert [e.step for e in found.Scalars("train/loss")] == [*range(1, history.epochs[-1].step + 1)]
    aucs = [(e.step, e.value) for e in found.Scalars("valid/mean_auc")]
    assert aucs == [(r.step, pytest.approx(r.valid_mean_auroc)) for r in history]
    assert {f"valid_auc/{name}" for name in OUTPUTS} <= set(found.Tags()["scalars"])
    assert any(tag.startswith("parameters/") for tag in found.Tags()["histograms"])
    rows = list(csv.DictReader(io.StringIO(storage.read_bytes(f"{run}/history.csv").decode())))
    assert [int(row["step"]) for row in rows] == [r.step for r in history]
    assert float(rows[-1]["valid_auroc_left"]) == history.epochs[-1].valid_auroc[1]
    with Image.open(f"{run}/history.png") as picture:
        assert picture.width == 1500
    assert storage.read_json(f"{run}/environment.json")["leader"]["cores"] >= 1


def test_events_of_steps_that_are_done_again_are_dropped(tmp_path, network):
    settings, folder = config(), tmp_path / "tensorboard"
    killed = EventFiles(str(tmp_path), settings)
    for step in range(1, 8):
        killed.step(step, {"train/loss": 1.0})
    killed.close()
    resumed = EventFiles(str(tmp_path), settings, step=4)
    for step in (5, 6):
        resumed.step(step, {"train/loss": 2.0})
    resumed.record(record(0, step=7), OUTPUTS, network)
    resumed.close()
    steps = [(step, 1.0) for step in range(1, 5)] + [(5, 2.0), (6, 2.0), (7, 0.7)]
    assert curve(folder, "train/loss") == steps


def test_without_summaries_a_validation_still_has_its_training_loss(tmp_path, network):
    files = EventFiles(str(tmp_path), config())
    files.record(record(0), OUTPUTS, network)
    files.close()
    assert curve(tmp_path / "tensorboard", "train/loss") == [(4, 0.7)]
    assert curve(tmp_path / "tensorboard", "valid_auc/bright") == [(4, 0.75)]
    assert "valid_auc/left" not in events(tmp_path / "tensorboard").Tags()["scalars"]


def test_remote_storage_gets_a_copy_and_no_temporary_file_stays(tmp_path, network, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = EventFiles("memory://watched", config())
    files.record(record(0), OUTPUTS, network)
    (name,) = storage.list_names("memory://watched/tensorboard")
    before = storage.read_bytes(f"memory://watched/tensorboard/{name}")
    files.record(record(1), OUTPUTS, network)
    files.close()
    data = storage.read_bytes(f"memory://watched/tensorboard/{name}")
    assert data.startswith(before)
    assert [*tmp_path.iterdir()] == []
    (tmp_path / name).write_bytes(data)
    assert curve(tmp_path, "valid/loss") == [(4, 0.8), (8, 0.7)]


def test_parameters_that_are_not_numbers_do_not_stop_the_histograms(tmp_path):
    broken = nn.Linear(3, 2)
    with torch.no_grad():
        broken.bias.fill_(float("nan"))
    files = EventFiles(str(tmp_path), config(histograms=True))
    files.record(record(0), OUTPUTS, broken)
    files.close()
    assert events(tmp_path / "tensorboard").Tags()["histograms"] == ["parameters/weight"]


def test_settings_have_dotted_names():
    flat = flat_settings(config().to_json())
    assert flat["optimizer.name"] == "adamw"
    assert flat["seed"] == 0
    assert flat["outputs"] == "['bright', 'left']"


def test_the_picture_is_drawn_again_when_it_is_a_minute_old_and_at_the_end(tmp_path, network):
    now = [0.0]
    folder = RunFolder(str(tmp_path), config(), History(), clock=lambda: now[0])
    picture = tmp_path / "history.png"
    folder.record(record(0), OUTPUTS, network)
    assert not picture.exists()
    now[0] = 61.0
    folder.record(record(1), OUTPUTS, network)
    first = picture.read_bytes()
    folder.record(record(2), OUTPUTS, network)
    assert picture.read_bytes() == first
    folder.close()
    assert picture.read_bytes() != first


def test_a_resumed_run_keeps_the_rows_before_it(tmp_path, network):
    folder = RunFolder(str(tmp_path), config(), History((record(0),)))
    folder.record(record(1), OUTPUTS, network)
    assert (tmp_path / "history.csv").read_text() == (
        "epoch,step,train_loss,valid_loss,valid_mean_auroc,lr,images_per_s,seconds,"
        "valid_auroc_bright,valid_auroc_left\n"
        "0,4,0.7,0.8,0.75,0.001,20.0,2.0,0.75,\n"
        "1,8,0.6,0.7000000000000001,0.75,0.001,20.0,2.0,0.75,\n"
    )


def test_learning_rates_are_those_of_the_schedule_at_each_step():
    settings = config()
    rates = learning_rates(settings, History((record(0),)))
    assert rates == [(step + 1, settings.schedule.lr(step)) for step in range(4)]
    assert len(learning_rates(settings, History((record(0, step=10_001),)))) <= 402


class Broken:
    closed = 0

    def step(self, step, scalars):
        raise OSError("no space left on device")

    def record(self, record, outputs, model):
        raise AssertionError("called after it failed")

    def close(self):
        self.closed += 1


def test_what_watches_a_run_cannot_end_it(caplog, network):
    broken = Broken()
    guard = Guarded("tensorboard", broken)
    with caplog.at_level(logging.WARNING):
        guard.step(1, {})
        guard.record(record(0), OUTPUTS, network)
        guard.close()
    assert broken.closed == 1
    assert guard.problem == "tensorboard is not written any more: OSError: no space left on device"
    assert caplog.messages == [guard.problem]


def test_what_cannot_be_opened_is_said_and_left_out(network):
    guard = Guarded.opened("MLflow", lambda: MLflowObserver("memory://no-run"))
    guard.record(record(0), OUTPUTS, network)
    guard.close()
    assert "MLflow is not written any more" in guard.problem


@pytest.fixture
def mlflow_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its own rule for folders
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "chests")
    return tmp_path / "mlruns"


def test_a_run_is_logged_to_mlflow_and_a_resumed_one_goes_on_in_it(
    tmp_path, mlflow_folder, network
):
    from mlflow import MlflowClient

    run = str(tmp_path / "first")
    begin_mlflow_run(str(mlflow_folder), run, config())
    for epoch in (0, 1):
        with followed_by_mlflow(run):
            observer = MLflowObserver(run)
            observer.step(4 * epoch + 2, {"train/loss": 0.9})
            observer.record(record(epoch, valid_auroc=(0.5, 0.25)), OUTPUTS, network)
            observer.close()
    opened = storage.read_json(f"{run}/mlflow.json")
    client = MlflowClient(mlflow_folder.as_uri())
    assert len(client.search_runs([opened["experiment_id"]])) == 1
    logged = client.get_run(opened["run_id"])
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "first"
    assert logged.data.params["architecture"] == "timm:test_resnet"
    losses = client.get_metric_history(opened["run_id"], "valid/loss")
    assert [(m.step, m.value) for m in losses] == [(4, 0.8), (8, pytest.approx(0.7))]
    assert logged.data.metrics["valid_auc/left"] == 0.25


def status_after(run, error):
    with pytest.raises(type(error)), followed_by_mlflow(run):
        raise error
    from mlflow import MlflowClient

    opened = storage.read_json(f"{run}/mlflow.json")
    return MlflowClient(opened["tracking_uri"]).get_run(opened["run_id"]).info.status


def test_mlflow_is_told_how_a_run_ended(tmp_path, mlflow_folder):
    begin_mlflow_run(str(mlflow_folder), str(tmp_path), config())
    assert status_after(str(tmp_path), ValueError("lost")) == "FAILED"
    assert status_after(str(tmp_path), KeyboardInterrupt()) == "KILLED"


def test_an_mlflow_that_is_gone_later_costs_a_warning(tmp_path, mlflow_folder, caplog, network):
    run = str(tmp_path)
    begin_mlflow_run(str(mlflow_folder), run, config())
    observer = MLflowObserver(run)
    shutil.rmtree(mlflow_folder)
    guard = Guarded("MLflow", observer)
    with caplog.at_level(logging.WARNING), followed_by_mlflow(run):
        guard.step(1, {"train/loss": 0.5})
        guard.close()
    assert "MLflow is not written any more" in guard.problem
    assert "MLflow was not told that the run is FINISHED" in caplog.messages[-1]


def test_an_mlflow_that_cannot_be_used_is_refused_before_the_run(tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    with pytest.raises(InvalidValueError, match=r"without user and password.*//host:5000'") as seen:
        begin_mlflow_run("https://me:secret@host:5000", str(tmp_path), config())
    assert "secret" not in str(seen.value)
    with pytest.raises(InvalidValueError, match="address of an MLflow tracking server"):
        begin_mlflow_run("nonsense://host", str(tmp_path), config())
    assert not (tmp_path / "mlflow.json").exists()
