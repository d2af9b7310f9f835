"""What a killed process leaves half-written is removed by the next one; what a living one writes stays."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.core.temporary import new_part, new_part_folder, sweep
from bench.store.files import write_whole

WRITER = """
import sys, time, pathlib
from bench.core.temporary import new_part, new_part_folder
path = pathlib.Path(sys.argv[1])
held = [new_part(path), new_part_folder(path)]
(held[1][1] / "half").write_text("x")
print("ready", flush=True)
time.sleep(60)
"""


def parts(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(".part"))


def test_parts_of_a_killed_process_are_swept_and_those_of_a_living_one_stay(tmp_path):
    path = tmp_path / "record.json"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        written = parts(tmp_path)
        assert len(written) == 2
        write_whole(tmp_path / "other.json", b"{}")
        assert parts(tmp_path) == written
        process.send_signal(signal.SIGKILL)
    assert parts(tmp_path) == written
    write_whole(path, b"{}")
    assert sorted(os.listdir(tmp_path)) == ["other.json", "record.json"]


def test_a_link_is_not_followed_and_other_files_stay(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / ".link.x.part").symlink_to(tmp_path / "kept")
    (tmp_path / "mine.part").write_text("x")
    (tmp_path / ".left.x.part").write_text("x")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".link.x.part", "kept", "mine.part"]
    assert (tmp_path / "kept" / "file").read_text() == "x"


@pytest.mark.parametrize("make", [new_part, new_part_folder])
def test_many_who_write_at_once_do_not_sweep_each_other(tmp_path, make):
    def write(n):
        handle, name = make(tmp_path / "file")
        assert os.path.exists(name)
        os.close(handle)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(300)))
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []
