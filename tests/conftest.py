"""What all tests share: one Spark session, the real radiographs where they are, one thread each."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from heavy_files import seconds_of
from quick_java import QUICK_JAVA

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Before anybody imports torch, which reads it once: two cores, shared with Spark.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A rank on its own takes both cores; its waiting thread must not keep the other test's core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The tests' own servers listen on loopback, which no proxy of the environment can reach.
for name in ("no_proxy", "NO_PROXY"):
    hosts = filter(None, [os.environ.get(name), "127.0.0.1", "localhost"])
    os.environ[name] = ",".join(hosts)

# No deadline: a garbage collection or a busy machine is no failure. Derandomised: red means red.
hypothesis.settings.register_profile("hilum", deadline=None, derandomize=True)
hypothesis.settings.load_profile("hilum")


def pytest_configure(config: pytest.Config) -> None:
    # A shell without a terminal lets jobs behind "&" ignore Ctrl-C; some tests press it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # PySpark 4.1 leaves its sockets to Java to the garbage collector; 4.3 closes them.
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a shared fixture; files that take long go first, the others shuffled."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for fixture, marker in (("spark", "spark"), ("real_data", "real")):
            if fixture in fixtures:
                item.add_marker(marker)
        if "cluster" in item.keywords and not os.environ.get("HILUM_CLUSTER_TESTS"):
            item.add_marker(pytest.mark.skip(reason="`make test-clusters` runs it"))
    items.sort(key=lambda item: -seconds_of(item.nodeid))


@pytest.fixture(scope="session")
def spark() -> Iterator["SparkSession"]:
    """The one session of the test run: two cores, two shuffle partitions, no UI."""
    from hilum.spark import local_session  # here, so that pure tests need no Spark

    options = {"spark.driver.extraJavaOptions": QUICK_JAVA}
    session = local_session("local[2]", app_name="hilum-tests", memory="1g", config=options)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real NIH radiographs and labels (see CONTRIBUTING)."""
    folder = os.environ.get("HILUM_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HILUM_REAL_DATA names no folder with real radiographs")
    return Path(folder).resolve()
