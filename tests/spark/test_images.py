"""Files become rows: formats by magic number, reasons for refusals, and no needless decoding."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.errors import PythonException
from pyspark.ml.image import ImageSchema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.decoding import decode
from hilum.errors import InvalidValueError, RejectedImageError
from hilum.preprocessing import Resize
from hilum.radiograph import REASONS
from hilum.spark import read_radiographs, split_by_patient
from hilum.spark.image_struct import grey_pixels
from image_files import broken_files, dicom, encoded, picture, png, png16, write_files


def by_name(frame: DataFrame) -> dict[str, object]:
    rows = frame.collect()
    assert len({row["file_name"] for row in rows}) == len(rows)
    return {row["file_name"]: row for row in rows}


def pixels_of(row) -> np.ndarray:
    return grey_pixels(row["image"].asDict())


def plan_of(frame: DataFrame) -> str:
    return frame._jdf.queryExecution().executedPlan().toString()


def scanned_columns(frame: DataFrame) -> str:
    """What the scan of the files reads."""
    return re.search(r"FileScan.*ReadSchema: (\S*)", plan_of(frame)).group(1)


FLAVOURS = {
    "grey.png": png(picture(1)),
    "sixteen.png": png16(picture(2)),
    "rgb.png": encoded(Image.fromarray(np.stack([picture(3)] * 3, axis=-1))),
    "rgba.png": encoded(
        Image.fromarray(np.stack([*[picture(4)] * 3, np.full_like(picture(4), 255)], axis=-1))
    ),
    "palette.png": encoded(Image.fromarray(picture(5)).convert("P")),
    "photo.jpg": encoded(Image.fromarray(picture(6)), "JPEG"),
    "scan.dcm": dicom(picture(7, 64, 64)),
}
EXACT = {"grey.png": 1, "sixteen.png": 2, "rgb.png": 3, "rgba.png": 4, "palette.png": 5}


@pytest.fixture(scope="module")
def flavours(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory):
    folder = write_files(tmp_path_factory.mktemp("flavours"), FLAVOURS)
    return by_name(read_radiographs(spark, str(folder)))


@pytest.mark.parametrize("name", EXACT)
def test_8_bit_16_bit_rgb_rgba_and_palette_keep_every_grey_level(flavours, name):
    assert flavours[name]["status"] == "ok"
    assert np.array_equal(pixels_of(flavours[name]), picture(EXACT[name]))


def test_the_cluster_decodes_as_one_process_does(flavours):
    for name, content in FLAVOURS.items():
        assert np.array_equal(pixels_of(flavours[name]), decode(content).pixels), name


def test_header_columns_come_from_the_file(flavours):
    row, alone = flavours["scan.dcm"], decode(FLAVOURS["scan.dcm"])
    for name in ("modality", "view", "patient_id", "age_years", "sex", "sop_instance_uid"):
        assert row[name] == getattr(alone, name), name
    assert (row["source_format"], row["modality"]) == ("dicom", alone.modality)
    assert row["length"] == len(FLAVOURS["scan.dcm"])
    assert row["modification_time"] is not None
    assert flavours["photo.jpg"]["source_format"] == "jpeg"
    assert flavours["sixteen.png"]["source_bits"] == 16
    assert flavours["grey.png"]["patient_id"] is None


def test_the_image_struct_is_sparks_own(spark, tmp_path):
    folder = write_files(tmp_path, {"a.png": FLAVOURS["grey.png"], "b.png": png(picture(8))})
    ours = read_radiographs(spark, str(folder)).select("image")
    theirs = spark.read.format("image").load(str(folder)).select("image")
    assert ours.schema["image"].dataType.simpleString() == (ImageSchema.columnSchema.simpleString())
    assert ImageSchema.imageFields == ours.schema["image"].dataType.fieldNames()
    mine, sparks = (
        sorted(tuple(row["image"])[1:] for row in frame.collect()) for frame in (ours, theirs)
    )
    assert mine == sparks, "sizes, mode and bytes as Spark's own reader gives them"


def test_pixels_of_sparks_own_colour_images_are_understood(spark, tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    (tmp_path / "colour.png").write_bytes(encoded(Image.fromarray(colour)))
    row = spark.read.format("image").load(str(tmp_path)).first()
    luma = np.asarray(Image.fromarray(colour).convert("L")).astype(int)
    assert np.abs(pixels_of(row).astype(int) - luma).max() <= 1


def test_a_struct_that_contradicts_itself_is_corrupt():
    with pytest.raises(RejectedImageError) as caught:
        grey_pixels({"height": 2, "width": 3, "nChannels": 1, "data": b"12345"})
    assert caught.value.reason == "corrupt"


def test_the_first_bytes_decide_and_not_the_name(spark, tmp_path):
    files = {
        "a.dcm": FLAVOURS["grey.png"],
        "b.png": FLAVOURS["scan.dcm"],
        "c": FLAVOURS["photo.jpg"],
    }
    rows = by_name(read_radiographs(spark, str(write_files(tmp_path, files))))
    found = {name: rows[name]["source_format"] for name in files}
    assert found == {"a.dcm": "png", "b.png": "dicom", "c": "jpeg"}


def test_nested_folders_globs_and_several_paths(spark, tmp_path):
    image = FLAVOURS["grey.png"]
    names = ("a/one.png", "a/deep/two.png", "b/three.dcm", "b/four.png")
    write_files(tmp_path, dict.fromkeys(names, image))

    def names_in(path, **options):
        rows = read_radiographs(spark, path, **options).select("file_name").collect()
        return sorted(row["file_name"] for row in rows)

    everything = ["four.png", "one.png", "three.dcm", "two.png"]
    assert names_in(str(tmp_path)) == everything
    assert names_in(str(tmp_path), glob="*.png") == ["four.png", "one.png", "two.png"]
    assert names_in(str(tmp_path / "a"), recursive=False) == ["one.png"]
    assert names_in(f"{tmp_path}/*") == everything
    assert names_in([str(tmp_path / "b"), str(tmp_path / "a/deep")]) == [
        *everything[:1],
        "three.dcm",
        "two.png",
    ]
    assert names_in(str(tmp_path / "b/four.png")) == ["four.png"]


def test_a_folder_that_does_not_exist_is_named(spark, tmp_path):
    with pytest.raises(InvalidValueError, match="nowhere"):
        read_radiographs(spark, str(tmp_path / "nowhere"))


def test_parameters_are_checked_before_the_job(spark, tmp_path):
    for wrong in ({"mode": "lenient"}, {"size": (0, 4)}, {"path": []}):
        with pytest.raises(InvalidValueError, match=next(iter(wrong))):
            read_radiographs(spark, **{"path": str(tmp_path), **wrong})


def test_size_resizes_while_reading(spark, tmp_path):
    import torch

    folder = write_files(
        tmp_path, {"a.png": png(picture(1, 50, 40)), "b.png": png(picture(2, 16, 12))}
    )
    rows = by_name(read_radiographs(spark, str(folder), size=(16, 12)))
    expected = Resize(16, 12)(torch.from_numpy(picture(1, 50, 40))[None, None])[0, 0].numpy()
    assert np.array_equal(pixels_of(rows["a.png"]), expected)
    assert np.array_equal(pixels_of(rows["b.png"]), picture(2, 16, 12))


BROKEN = broken_files()


@pytest.fixture(scope="module")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 files in nested folders; eleven of them are broken, each in its own way."""
    files = {f"{i % 4}/image-{i:03d}.png": png(picture(i, 64, 64)) for i in range(140)}
    files |= {f"{i % 4}/scan-{i:03d}.dcm": dicom(picture(i, 64, 64)) for i in range(140, 189)}
    files |= {f"{i % 4}/{name}": content for i, (name, (content, _)) in enumerate(BROKEN.items())}
    assert len(files) == 200
    return write_files(tmp_path_factory.mktemp("mixed"), files)


@pytest.fixture
def mounted(spark: SparkSession):
    """A folder's address on a file system that only Java can open (Hadoop's ViewFs)."""
    hadoop = spark._jsc.hadoopConfiguration()

    def mount(folder: Path) -> str:
        name = f"hilum-{folder.name}"
        hadoop.set(f"fs.viewfs.mounttable.{name}.link./images", folder.as_uri())
        return f"viewfs://{name}/images"

    return mount


@pytest.mark.parametrize("road", ["opened by the Python worker", "through Java"])
def test_of_200_files_the_good_are_exact_and_each_broken_one_has_its_reason(
    spark, mixed_folder, mounted, road
):
    address = str(mixed_folder) if "Python" in road else mounted(mixed_folder)
    frame = read_radiographs(spark, address)
    assert ("content" in scanned_columns(frame)) is ("Java" in road)
    rows = by_name(frame)
    assert len(rows) == 200
    for name, row in rows.items():
        if name in BROKEN:
            assert (row["status"], row["image"]) == ("rejected", None), name
            assert row["reason"] == BROKEN[name][1] in REASONS, name
        else:
            assert (row["status"], row["reason"], row["detail"]) == ("ok", None, None), name
            assert np.array_equal(pixels_of(row), picture(int(name[-7:-4]), 64, 64)), name


@pytest.mark.parametrize(
    "name", ["with space.png", "50%25 a#b?.png", "umlaut-\u00e4{}.png", "a+b.png"]
)
def test_a_file_of_any_name_is_opened(spark, tmp_path, name):
    folder = write_files(tmp_path, {name: png(picture(1))})
    row = read_radiographs(spark, str(folder)).first()
    assert (row["file_name"], row["status"]) == (name, "ok")


def test_dropmalformed_leaves_the_good_rows_only(spark, mixed_folder):
    rows = read_radiographs(spark, str(mixed_folder), "dropmalformed").select("file_name", "status")
    collected = rows.collect()
    assert len(collected) == 189
    assert {row["status"] for row in collected} == {"ok"}


def test_failfast_names_the_file_and_the_reason(spark, tmp_path):
    folder = write_files(tmp_path, {"fine.png": png(picture(0)), "bad.png": b"\x89PNG\r\n\x1a\n"})
    with pytest.raises(PythonException, match=r"truncated: file:.*/bad\.png"):
        read_radiographs(spark, str(folder), "failfast").collect()
    (folder / "bad.png").unlink()
    assert read_radiographs(spark, str(folder), "failfast").select("image").first() is not None


def test_max_pixels_refuses_larger_headers(spark, tmp_path):
    folder = write_files(tmp_path, {"a.png": png(picture(0))})
    row = read_radiographs(spark, str(folder), max_pixels=100).first()
    assert (row["status"], row["reason"]) == ("rejected", "too_large")


def test_counting_joining_and_splitting_decode_nothing(spark, mixed_folder):
    images = read_radiographs(spark, str(mixed_folder))
    labels = images.select("file_name", F.crc32("file_name").cast("string").alias("patient"))
    labels = spark.createDataFrame(labels.collect(), labels.schema)
    joined = images.drop("patient_id").join(
        labels.withColumnRenamed("patient", "patient_id"), "file_name"
    )
    data = split_by_patient(joined, {"train": 0.7, "test": 0.3}, seed=1)
    for query in (
        images.groupBy().count(),
        images.select("file_name", "path", "length"),
        joined.groupBy().count(),
        data.groupBy("split").count(),
    ):
        assert "ArrowEvalPython" not in plan_of(query)
        assert "content" not in scanned_columns(query)


@pytest.mark.parametrize("condition", ["status = 'ok'", "image is not null", "view = 'PA'"])
def test_a_filter_on_what_was_decoded_decodes_each_file_once(spark, mixed_folder, condition):
    chosen = read_radiographs(spark, str(mixed_folder)).filter(condition)
    plan = plan_of(chosen.select("image", "status", "reason", "view"))
    assert plan.count("ArrowEvalPython") == 1


def test_files_that_come_later_are_not_part_of_the_frame(spark, tmp_path):
    folder = write_files(tmp_path, {"a.png": png(picture(0)), "b.png": b""})
    frame = read_radiographs(spark, str(folder))
    write_files(folder, {"c.png": png(picture(1)), "d.png": b""})
    assert frame.count() == 2, "the listing is the one of the call"


def test_files_of_no_bytes_are_rows_though_spark_leaves_them_out(spark, tmp_path):
    names = ("plain.png", "deep/with space; length=7.png", "umlaut-\u00e4{}.dcm")
    folder = write_files(tmp_path, dict.fromkeys(names, b"") | {"good.png": png(picture(0))})
    rows = by_name(read_radiographs(spark, str(folder)))
    assert set(rows) == {Path(name).name for name in names} | {"good.png"}
    for name in names:
        row = rows[Path(name).name]
        assert (row["status"], row["reason"], row["length"]) == ("rejected", "empty", 0)
        assert row["path"] == f"file:{folder / name}"
        modified = (folder / name).stat().st_mtime
        assert row["modification_time"].timestamp() == pytest.approx(modified, abs=0.01)
    assert rows["good.png"]["status"] == "ok"
    assert read_radiographs(spark, str(folder), glob="*.dcm").first()["reason"] == "empty"
    assert read_radiographs(spark, str(folder / "plain.png")).first()["reason"] == "empty"
    assert read_radiographs(spark, str(folder), "dropmalformed").count() == 1
