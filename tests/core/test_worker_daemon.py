"""Where the parent of Spark's workers imports PySpark from."""

import sys

from hilum.worker_daemon import without_zipped_pyspark

ZIPS = ["/spark/python/lib/pyspark.zip", "/spark/python/lib/py4j-0.10.9.9-src.zip"]


def test_an_installed_pyspark_is_taken_before_its_archive():
    assert without_zipped_pyspark([*ZIPS, *sys.path]) == sys.path


def test_an_archive_that_is_the_only_pyspark_stays(tmp_path):
    path = [*ZIPS, str(tmp_path)]
    assert without_zipped_pyspark(path) == path
