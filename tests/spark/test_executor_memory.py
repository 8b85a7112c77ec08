import pytest

from hilum.errors import InvalidValueError
from hilum.spark.executor_memory import executor_memory_limit, memory_bytes

GB = 2**30


def limit(ranks=1, cores=8, **settings):
    named = {"spark." + name.replace("_", "."): value for name, value in settings.items()}
    return executor_memory_limit(named.get, cores, ranks)


def test_memory_settings_are_read_as_spark_reads_them():
    assert memory_bytes("2g") == memory_bytes("2048m") == memory_bytes("2048") == 2 * GB
    assert memory_bytes("1GB") == GB
    with pytest.raises(InvalidValueError, match="'lots'"):
        memory_bytes("lots")


def test_a_container_leaves_python_its_overhead_and_at_most_all_of_it():
    found = limit(master="yarn", executor_memory="8g", executor_memoryOverhead="4g")
    assert (found.safe_bytes, found.num_bytes) == (4 * GB, 12 * GB)
    assert found.source == "spark.executor.memoryOverhead=4g"


def test_an_overhead_nobody_set_is_the_one_spark_takes():
    assert limit(master="yarn", executor_memory="8g").safe_bytes == int(0.1 * 8 * GB)
    assert limit(master="yarn").safe_bytes == 384 * 2**20
    assert limit(master="k8s://host", executor_memory="8g").safe_bytes == int(0.4 * 8 * GB)
    more = limit(master="yarn", executor_memory="8g", executor_memoryOverheadFactor="0.5")
    assert more.safe_bytes == 4 * GB


def test_sparks_limit_on_python_counts_per_core():
    found = limit(ranks=1, cores=8, executor_pyspark_memory="16g", master="yarn")
    assert found.num_bytes == 2 * GB
    assert "over 8 cores" in found.source


def test_a_local_session_has_what_the_machine_has_and_a_standalone_one_no_limit():
    assert limit(master="local[2]").num_bytes > GB
    assert limit(master="spark://host:7077") is None
