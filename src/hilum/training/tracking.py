"""A run in MLflow: opened by the driver, filled by rank 0, closed by the driver.

The driver makes the MLflow run before any rank starts, so a server that cannot be reached or a
package that is missing is said at once. RUN/mlflow.json holds its address and id; with it a resumed
run goes on in the same MLflow run. While ranks train, MLflow is written by a thread of its own:
its client repeats failed requests for minutes, and no rank shall wait for that.
"""

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from hilum import storage
from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.training.config import TrainConfig
from hilum.training.environment import without_credentials
from hilum.training.event_files import flat_settings
from hilum.training.history import EpochRecord
from hilum.training.observer import record_scalars

__all__ = ["MLflowObserver", "begin_mlflow_run", "followed_by_mlflow", "has_mlflow_run"]

logger = logging.getLogger(__name__)

_FILE = "mlflow.json"
_MAX_PARAMS, _MAX_PARAM_LETTERS = 100, 500  # per request, and per value on older servers
_MAX_WAITING = 10_000
_CLOSE_TIMEOUT_S = 30.0


def begin_mlflow_run(uri: str, run_directory: str, config: TrainConfig) -> None:
    """Make an MLflow run with the run's settings as its parameters.

    The experiment is named by MLFLOW_EXPERIMENT_NAME, else "hilum".

    Args:
        uri: tracking address: http(s)://, databricks, or a folder.

    Raises:
        MissingDependencyError: no MLflow client is installed.
        InvalidValueError: the address holds a password, or MLflow refuses it.
    """
    bare = without_credentials(uri)
    require(
        bare == uri,
        "mlflow",
        "an address without user and password",
        bare,
        hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, for executors too "
        "(spark.executorEnv.MLFLOW_TRACKING_USERNAME, ...)",
    )
    if "://" not in uri and not uri.startswith(("databricks", "file:")):
        uri = Path(uri).resolve().as_uri()  # a relative folder is another one on each host
    try:
        with _answering_soon():
            client = _client(uri)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hilum")
            known = client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else client.create_experiment(name)
            run_name = run_directory.rstrip("/").rpartition("/")[2]
            run_id = client.create_run(experiment, run_name=run_name).info.run_id
            _log_settings(client, run_id, config)
    except MissingDependencyError:
        raise
    except Exception as error:  # its own kinds differ by version and storage
        raise InvalidValueError(
            f"mlflow must be the address of an MLflow tracking server. Got {uri!r}: {error}"
        ) from error
    opened = {"tracking_uri": uri, "experiment_id": experiment, "run_id": run_id}
    storage.write_json(storage.join(run_directory, _FILE), opened)


def has_mlflow_run(run_directory: str) -> bool:
    """Whether the run is logged to MLflow."""
    return storage.exists(storage.join(run_directory, _FILE))


@contextmanager
def followed_by_mlflow(run_directory: str) -> Iterator[None]:
    """Tell MLflow that the run goes on for the duration of a block, and how the block ended.

    A server that does not answer costs a warning, not the run; nothing for a run not logged there.
    """
    if not has_mlflow_run(run_directory):
        yield
        return
    _tell(run_directory, "RUNNING")
    status = "KILLED"  # Ctrl-C and the like
    try:
        yield
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        _tell(run_directory, status)


class MLflowObserver:
    """An observer that logs to the MLflow run that RUN/mlflow.json names.

    A request that failed is raised at the next call, so that the caller can say so and go on.
    """

    def __init__(self, run_directory: str) -> None:
        opened = storage.read_json(storage.join(run_directory, _FILE))
        self._client = _client(opened["tracking_uri"])
        self._run_id: str = opened["run_id"]
        self._waiting: queue.Queue[list[Any] | None] = queue.Queue(_MAX_WAITING)
        self._failed: Exception | None = None
        # A daemon: a server that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._send, name="hilum-mlflow", daemon=True)
        self._thread.start()

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log the scalars of a step."""
        self._log(step, scalars)

    def record(self, record: EpochRecord, outputs: tuple[str, ...], model: nn.Module) -> None:
        """Log what a validation measured."""
        self._log(
            record.step,
            {"epoch": record.epoch + 1, "train/loss": record.train_loss, "train/lr": record.lr}
            | {"train/images_per_s": record.images_per_s}
            | record_scalars(record, outputs),
        )

    def close(self) -> None:
        """Wait for what is on its way, at most half a minute."""
        self._waiting.put(None, timeout=_CLOSE_TIMEOUT_S)
        self._thread.join(_CLOSE_TIMEOUT_S)
        if self._failed is None and self._thread.is_alive():
            raise TimeoutError(f"MLflow did not take all values within {_CLOSE_TIMEOUT_S:g} s")
        if self._failed is not None:
            raise self._failed

    def _log(self, step: int, scalars: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if self._failed is not None:
            raise self._failed
        now_ms = int(time.time() * 1000)
        self._waiting.put_nowait(
            [Metric(_allowed(name), value, now_ms, step) for name, value in scalars.items()]
        )

    def _send(self) -> None:
        while (metrics := self._waiting.get()) is not None:
            try:
                self._client.log_batch(self._run_id, metrics=metrics)
            except Exception as error:
                self._failed = error
                return


def _log_settings(client: Any, run_id: str, config: TrainConfig) -> None:
    from mlflow.entities import Param

    params = [
        Param(_allowed(name), str(value)[:_MAX_PARAM_LETTERS])
        for name, value in flat_settings(config.to_json()).items()
    ]
    for at in range(0, len(params), _MAX_PARAMS):
        client.log_batch(run_id, params=params[at : at + _MAX_PARAMS])


def _tell(run_directory: str, status: str) -> None:
    try:
        opened = storage.read_json(storage.join(run_directory, _FILE))
        with _answering_soon():
            _client(opened["tracking_uri"]).update_run(opened["run_id"], status=status)
    except Exception as error:
        logger.warning("MLflow was not told that the run is %s: %s", status, error)


@contextmanager
def _answering_soon() -> Iterator[None]:
    """Let MLflow's client give up after one repetition; by default it goes on for minutes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    given = os.environ.get(name)
    os.environ[name] = given or "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]


def _allowed(name: str) -> str:
    """MLflow takes letters, digits, and these signs in names."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _client(uri: str) -> Any:
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise MissingDependencyError(
            "logging to MLflow needs the package mlflow-skinny. "
            "Hint: pip install 'hilum[mlflow]' on driver and executors."
        ) from error
    return MlflowClient(tracking_uri=uri)
