import os
import subprocess
import sys
import time

import pytest

from hilum.errors import InvalidValueError
from hilum.training import local_copies
from hilum.training.local_copies import Hold, local_root, make_room, remove_unused

DAY_S = 86_400


def make_copy(root, name, age_days=0.0):
    hold = Hold(root, name)
    assert hold.try_own()
    hold.path.mkdir()
    (hold.path / "pixels").write_bytes(b"x" * 1000)
    then = time.time() - age_days * DAY_S
    os.utime(root / f"{name}.lock", (then, then))
    hold.close()


def names(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_copies_lie_where_the_environment_says_and_only_their_owner_may_look(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "scratch"))
    root = local_root()
    assert root.parent == tmp_path / "scratch"
    assert root.stat().st_mode & 0o077 == 0
    assert local_root() == root
    root.chmod(0o755)
    with pytest.raises(InvalidValueError, match="nobody else may enter"):
        local_root()


def test_a_place_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HILUM_LOCAL_DIR", str(tmp_path / "file"))
    with pytest.raises(InvalidValueError, match="HILUM_LOCAL_DIR"):
        local_root()


def test_what_crashed_runs_and_forgotten_caches_left_is_removed(tmp_path):
    make_copy(tmp_path, "part-of-a-killed-run")
    make_copy(tmp_path, "cache-old", age_days=15)
    make_copy(tmp_path, "cache-new", age_days=13)
    make_copy(tmp_path, "part-in-use")
    hold = Hold(tmp_path, "part-in-use")
    hold.share()
    remove_unused(tmp_path)
    assert names(tmp_path) == ["cache-new", "part-in-use"]
    assert sorted(p.name for p in tmp_path.glob("*.lock")) == ["cache-new.lock", "part-in-use.lock"]
    hold.close()


def test_room_is_made_by_removing_what_was_unused_longest(tmp_path, monkeypatch):
    for name, days in (("cache-a", 3), ("cache-b", 9), ("cache-c", 6)):
        make_copy(tmp_path, name, age_days=days)
    free = iter([0, 0, 5 * 2**30])
    monkeypatch.setattr(local_copies.shutil, "disk_usage", lambda _: os_usage(next(free)))
    make_room(tmp_path, 2**30, keep="cache-b", hint="")
    # b is the oldest, but what the room is for; c comes next.
    assert names(tmp_path) == ["cache-a", "cache-b"]


def test_a_disk_that_is_too_small_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(
        InvalidValueError, match=r"must have room for 1000000\.0 GB.*HILUM_LOCAL_DI"
    ):
        make_room(tmp_path, 10**15, keep="cache-a", hint="")


def test_a_killed_process_keeps_no_copy_alive(tmp_path):
    make_copy(tmp_path, "cache-a", age_days=20)
    code = (
        "import sys, time; from pathlib import Path; from hilum.training.local_copies import Hold;"
        "h = Hold(Path(sys.argv[1]), 'cache-a'); h.share(); print('held', flush=True);"
        "time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        remove_unused(tmp_path, now_s=time.time() + 30 * DAY_S)
        assert names(tmp_path) == ["cache-a"]
        holder.kill()
    remove_unused(tmp_path, now_s=time.time() + 30 * DAY_S)
    assert names(tmp_path) == []


def os_usage(free_bytes):
    return local_copies.shutil._ntuple_diskusage(2**40, 2**40 - free_bytes, free_bytes)
