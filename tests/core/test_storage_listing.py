"""What is listed is what is there, under URLs that open; what cannot be asked is an error."""

import os

import fsspec
import pytest

from hilum import storage
from hilum.storage import hadoop_settings
from name_node import name_node

FILES = {"/xrays/1.png": b"1", "/xrays/deep/2.jpg": b"22", "/other/3.png": b"333"}


@pytest.fixture
def hdfs(monkeypatch):
    with name_node(FILES) as node:
        monkeypatch.setenv(hadoop_settings.OVERRIDE, node.address)
        yield node


def urls(given, **options):
    return [found.url for found in storage.list_files(given, **options)]


def names(folder, given, **options):
    return [url.removeprefix(f"{folder}/") for url in urls(f"{folder}{given}", **options)]


@pytest.mark.parametrize("root", ["hdfs://", "hdfs://nn:9000"])
def test_what_is_found_below_a_root_or_a_folder_has_urls_of_it(hdfs, root):
    below = [f"{root}/xrays/1.png", f"{root}/xrays/deep/2.jpg"]
    assert urls(f"{root}/") == [f"{root}/other/3.png", *below]
    assert urls(f"{root}/xrays") == urls(f"{root}/xrays/") == below
    assert urls(f"{root}/x*") == below
    assert urls(f"{root}/xrays/1.png") == below[:1]
    assert storage.read_bytes(urls(f"{root}/")[0]) == b"333"


def test_a_root_of_memory_has_urls_of_it():
    fsspec.filesystem("memory").pipe_file("/listing/a/file", b"x")
    assert "memory:///listing/a/file" in urls("memory://")
    assert urls("memory://listing") == ["memory://listing/a/file"]


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(hdfs):
    hdfs.refused["LISTSTATUS /xrays/deep"] = (403, "AccessControlException")
    for given in ("hdfs:///", "hdfs:///xrays", "hdfs:///*/*/*.jpg"):
        with pytest.raises(PermissionError, match="/xrays/deep"):
            storage.list_files(given)
    hdfs.refused["LISTSTATUS /xrays/deep"] = (404, "FileNotFoundException")
    assert urls("hdfs:///xrays") == ["hdfs:///xrays/1.png"], "deleted meanwhile"
    hdfs.refused["GETFILESTATUS /xrays"] = (401, "AuthenticationException")
    with pytest.raises(storage.CredentialsError):
        storage.list_files("hdfs:///xrays")


def test_nobody_there_is_no_empty_folder(monkeypatch):
    monkeypatch.setattr("hilum.storage.webhdfs.RETRY_S", 0.0)
    monkeypatch.setenv(hadoop_settings.OVERRIDE, "http://127.0.0.1:1")
    for given in ("hdfs:///xrays", "hdfs:///xrays/*.png"):
        with pytest.raises(storage.NotAnsweringError, match="did not answer"):
            storage.list_files(given)


def test_braces_are_alternatives_as_for_spark(tmp_path):
    for name in ("a.png", "b.jpg", "c.jpeg", "d.dcm", "x{1,2}.png"):
        storage.write_bytes(str(tmp_path / name), b"")
    folder = str(tmp_path)
    assert names(folder, "/*.{png,jpg}") == ["a.png", "b.jpg", "x{1,2}.png"]
    assert names(folder, "/{a.png,*.{jpg,jpeg}}") == ["a.png", "b.jpg", "c.jpeg"]
    assert names(folder, "", glob="?.{jp{,e}g,dcm}") == ["b.jpg", "c.jpeg", "d.dcm"]
    assert names(folder, "/x{1,2}.png") == ["x{1,2}.png"], "a file of that name"
    with pytest.raises(FileNotFoundError):
        storage.list_files(f"{folder}/*.{{tif,bmp}}")


def test_links_are_followed_to_files_and_what_is_no_file_is_left_out(tmp_path):
    folder = tmp_path / "folder"
    storage.write_bytes(str(folder / "real"), b"12")
    (folder / "link").symlink_to(folder / "real")
    (folder / "broken").symlink_to(folder / "none")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert names(str(folder), "") == ["link", "real"]
    assert names(str(folder), "/*k") == ["link"]
    assert names(str(folder), "/loop") == ["loop/link", "loop/real"], "given itself"
    for name in ("pipe", "broken", "real/none"):
        with pytest.raises(FileNotFoundError):
            storage.list_files(str(folder / name))
