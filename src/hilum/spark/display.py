"""What a user sees while ranks train: a live line on a terminal, a line per epoch elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from hilum import storage
from hilum.training.history import EpochRecord, History
from hilum.training.progress import Progress, read_progress

__all__ = ["epoch_line", "show_progress"]

REFRESH_S = 0.5


@contextmanager
def show_progress(run_directory: str, console: Console | None = None) -> Iterator[None]:
    """Follow a run's progress and history files for the duration of a block, on stderr."""
    console = console or Console(stderr=True)
    stop = threading.Event()
    follower = threading.Thread(
        target=_follow, args=(run_directory, console, stop), name="hilum-display", daemon=True
    )
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def epoch_line(record: EpochRecord, max_epochs: int) -> str:
    """One finished epoch in one line."""
    parts = [
        f"epoch {record.epoch + 1}/{max_epochs}",
        f"loss {record.train_loss:.4f}",
        f"valid loss {_number(record.valid_loss, '.4f')}",
        f"valid mean AUC {_number(record.valid_mean_auroc, '.4f')}",
        f"lr {record.lr:.2e}",
        f"{record.images_per_s:.1f} img/s",
        f"{record.seconds:.1f} s",
    ]
    return "  ".join(parts)


def _follow(run_directory: str, console: Console, stop: threading.Event) -> None:
    printed = len(_history(run_directory))  # a resumed run's earlier epochs are known already
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            finished = stop.wait(REFRESH_S)
            progress = read_progress(run_directory)
            max_epochs = progress.max_epochs if progress else 0
            epochs = _history(run_directory).epochs
            for record in epochs[printed:]:
                line = epoch_line(record, max_epochs or len(epochs))
                live.console.print(line, highlight=False, soft_wrap=True)
            printed = max(printed, len(epochs))
            if progress is not None and console.is_terminal and progress.phase != "done":
                valid_mean_auroc = epochs[-1].valid_mean_auroc if epochs else None
                live.update(_live_line(progress, valid_mean_auroc))
            if finished:
                live.update("")
                return


def _history(run_directory: str) -> History:
    try:
        return History.from_json(storage.read_json(storage.join(run_directory, "history.json")))
    except (OSError, ValueError):
        return History()


def _live_line(progress: Progress, valid_mean_auroc: float | None) -> Table:
    row = Table.grid(padding=(0, 2))
    row.add_row(
        f"epoch {progress.epoch + 1}/{progress.max_epochs}",
        ProgressBar(total=max(progress.num_steps, 1), completed=progress.step, width=24),
        f"step {progress.step}/{progress.num_steps}",
        f"{progress.images_per_s:.1f} img/s",
        f"loss {_number(progress.loss, '.4f')}",
        f"lr {_number(progress.lr, '.2e')}",
        f"valid mean AUC {_number(valid_mean_auroc, '.3f')}",
        f"{_clock(progress.seconds_left)} left",
    )
    return row


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
