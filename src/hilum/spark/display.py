"""What a user sees while ranks train: a live line and a line per validation.

On a terminal the live line is redrawn in place; in a notebook a small table grows below the cell;
elsewhere (a log file, a pipe) only the finished lines are written.
"""

import html
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from hilum.training.event_files import TENSORBOARD_HINT, has_tensorboard
from hilum.training.history import EpochRecord, History, load_history
from hilum.training.progress import Progress, read_progress

__all__ = ["epoch_line", "show_progress"]

REFRESH_S = 0.5


class _View(Protocol):
    """Where the display goes."""

    def show(
        self, new: Sequence[EpochRecord], progress: Progress | None, last: EpochRecord | None
    ) -> None:
        """Show records that were not shown yet, and where the run stands."""
        ...

    def tell(self, text: str) -> None:
        """Say something once."""
        ...

    def close(self) -> None:
        """Take away what is only of interest while the run goes on."""
        ...


@contextmanager
def show_progress(run_directory: str, console: Console | None = None) -> Iterator[None]:
    """Follow a run's progress and history files for the duration of a block.

    On stderr, or below the cell of a notebook.
    """
    console = console or Console(stderr=True)
    view: _View = _NotebookView() if console.is_jupyter else _ConsoleView(console)
    stop = threading.Event()
    follower = threading.Thread(
        target=_follow, args=(run_directory, view, stop), name="hilum-display", daemon=True
    )
    if not has_tensorboard():
        view.tell(f"TensorBoard files are not written: tensorboard is missing; {TENSORBOARD_HINT}")
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
        view.close()


def epoch_line(record: EpochRecord, max_epochs: int) -> str:
    """One validation in one line."""
    return "  ".join(
        [
            f"epoch {record.epoch + 1}/{max_epochs}",
            f"step {record.step}",
            f"loss {record.train_loss:.4f}",
            f"valid loss {_number(record.valid_loss, '.4f')}",
            f"valid mean AUC {_number(record.valid_mean_auroc, '.4f')}"
            if record.valid_accuracy is None
            else f"valid accuracy {record.valid_accuracy:.4f}",
            f"lr {record.lr:.2e}",
            f"{record.images_per_s:.1f} img/s",
            f"{record.seconds:.1f} s",
        ]
    )


def _follow(run_directory: str, view: _View, stop: threading.Event) -> None:
    shown = len(_history(run_directory))  # a resumed run's earlier epochs are known already
    told = ""
    while True:
        finished = stop.wait(REFRESH_S)
        progress = read_progress(run_directory)
        if progress is not None and progress.warning not in ("", told):
            told = progress.warning
            view.tell(f"warning: {told}")
        epochs = _history(run_directory).epochs
        # A run that went back to a checkpoint has fewer records than were shown.
        shown = min(shown, len(epochs))
        view.show(epochs[shown:], progress, epochs[-1] if epochs else None)
        shown = len(epochs)
        if finished:
            return


class _ConsoleView:
    """A line per validation; on a terminal also the live line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def show(
        self, new: Sequence[EpochRecord], progress: Progress | None, last: EpochRecord | None
    ) -> None:
        for record in new:
            max_epochs = progress.max_epochs if progress else record.epoch + 1
            line = epoch_line(record, max_epochs)
            self._console.print(line, highlight=False, soft_wrap=True)
        if progress is not None and self._console.is_terminal and progress.phase != "done":
            self._live.update(_live_line(progress, last))

    def tell(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._live.update("")
        self._live.stop()


class _NotebookView:
    """A table with a row per validation and the live line below it.

    Through IPython's own display, which every notebook front end has: rich's live display needs
    ipywidgets and a front end that knows them.
    """

    def __init__(self) -> None:
        notebook: Any = import_module("IPython.display")
        self._html = notebook.HTML
        self._records: list[EpochRecord] = []
        self._handle = notebook.display(notebook.HTML(""), display_id=True)
        self._shown = ""
        self._told: list[str] = []
        self._max_epochs = 0

    def show(
        self, new: Sequence[EpochRecord], progress: Progress | None, last: EpochRecord | None
    ) -> None:
        self._records += new
        if progress is not None:
            self._max_epochs = progress.max_epochs
        live = "" if progress is None or progress.phase == "done" else _live_html(progress)
        self._update(live)

    def tell(self, text: str) -> None:
        self._told.append(text)

    def close(self) -> None:
        self._update("")

    def _update(self, live: str) -> None:
        told = "".join(f"<p>{html.escape(text)}</p>" for text in self._told)
        text = _table_html(self._records, self._max_epochs) + told + live
        if text != self._shown:
            self._handle.update(self._html(text))
            self._shown = text


def _history(run_directory: str) -> History:
    try:
        return load_history(run_directory)
    except (OSError, ValueError):
        return History()


def _live_line(progress: Progress, last: EpochRecord | None) -> Table:
    row = Table.grid(padding=(0, 2))
    epoch, *rest = _live_words(progress, last)
    bar = ProgressBar(total=max(progress.num_steps, 1), completed=progress.step, width=24)
    row.add_row(epoch, bar, *rest)
    return row


def _live_words(progress: Progress, last: EpochRecord | None) -> list[str]:
    return [
        f"epoch {progress.epoch + 1}/{progress.max_epochs}",
        f"step {progress.step}/{progress.num_steps}",
        f"{progress.images_per_s:.1f} img/s",
        f"loss {_number(progress.loss, '.4f')}",
        f"lr {_number(progress.lr, '.2e')}",
        f"valid mean AUC {_number(last.valid_mean_auroc if last else None, '.3f')}",
        f"{_clock(progress.seconds_left)} left",
    ]


def _table_html(records: Sequence[EpochRecord], max_epochs: int) -> str:
    if not records:
        return ""
    names = ("epoch", "step", "loss", "valid loss", "valid mean AUC", "lr", "img/s", "seconds")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = [
        (
            f"{record.epoch + 1}/{max_epochs or record.epoch + 1}",
            str(record.step),
            f"{record.train_loss:.4f}",
            _number(record.valid_loss, ".4f"),
            _number(record.valid_mean_auroc, ".4f"),
            f"{record.lr:.2e}",
            f"{record.images_per_s:.1f}",
            f"{record.seconds:.1f}",
        )
        for record in records
    ]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _live_html(progress: Progress) -> str:
    epoch, *rest = _live_words(progress, None)[:5]
    words = html.escape("  ".join([*rest, f"{_clock(progress.seconds_left)} left"]))
    done, total = progress.step, max(progress.num_steps, 1)
    bar = f'<progress value="{done}" max="{total}"></progress>'
    return f"<pre>{html.escape(epoch)}  {bar}  {words}</pre>"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
