"""Phantoms drawn by executors are those drawn by one process."""

from pathlib import Path

import pytest

from hilum.errors import InvalidValueError
from hilum.phantom import PhantomConfig, write_dataset
from hilum.spark import read_labels, read_radiographs
from hilum.spark.phantoms import write_phantoms

CONFIG = PhantomConfig(size_px=64, seed=3)


@pytest.mark.parametrize("image_format", ["png", "dicom"])
def test_executors_draw_the_files_that_one_process_draws(spark, tmp_path, image_format):
    written = write_phantoms(spark, str(tmp_path / "a"), 10, CONFIG, image_format=image_format)
    write_dataset(tmp_path / "b", 10, CONFIG, image_format=image_format)
    assert written.num_images == 10
    for path in sorted((tmp_path / "b" / "images").iterdir()):
        assert (Path(written.images) / path.name).read_bytes() == path.read_bytes(), path.name
    expected = (tmp_path / "b" / "Data_Entry_2017.csv").read_text()
    assert Path(written.labels).read_text() == expected


def test_images_and_labels_can_be_read_and_joined(spark, tmp_path):
    written = write_phantoms(spark, str(tmp_path), 5, CONFIG)
    images = read_radiographs(spark, written.images).select("file_name", "status")
    joined = images.join(read_labels(spark, written.labels), "file_name")
    assert joined.filter("status = 'ok'").count() == 5


def test_phantoms_are_not_drawn_to_remote_storage(spark):
    with pytest.raises(InvalidValueError, match="s3://bucket"):
        write_phantoms(spark, "s3://bucket/phantoms", 5, CONFIG)
