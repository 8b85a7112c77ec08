"""Progress is written beside training: storage that is slow holds up its display alone."""

import threading

from hilum import storage
from hilum.training.progress import Progress, ProgressWriter, read_progress


def test_training_does_not_wait_for_storage_that_is_slow(tmp_path, monkeypatch):
    answered, written = threading.Event(), []
    write_json = storage.write_json

    def slowly(url, value):
        assert answered.wait(30)
        written.append(value["step"])
        write_json(url, value)

    monkeypatch.setattr(storage, "write_json", slowly)
    now = [0.0]
    with ProgressWriter(str(tmp_path), interval_s=0.5, clock=lambda: now[0]) as writer:
        assert writer.is_due()
        writer.write(Progress(phase="training", step=1))  # comes back at once, or never
        now[0] = 10.0
        assert not writer.is_due(), "one is on its way"
        writer.write(Progress(phase="done", step=2))
        answered.set()
    assert written == [1, 2]
    assert read_progress(str(tmp_path)) == Progress(phase="done", step=2)


def test_the_next_one_is_due_when_the_interval_is_over(tmp_path):
    now = [0.0]
    with ProgressWriter(str(tmp_path), interval_s=0.5, clock=lambda: now[0]) as writer:
        writer.write(Progress(phase="training"))
        writer._pending.result()
        assert not writer.is_due()
        now[0] = 0.5
        assert writer.is_due()


def test_storage_that_cannot_be_written_ends_no_run(tmp_path, caplog):
    (tmp_path / "run").write_text("no directory")
    with ProgressWriter(str(tmp_path / "run")) as writer:
        writer.write(Progress(phase="training"))
    assert "progress not written" in caplog.text
    assert read_progress(str(tmp_path / "run")) is None
