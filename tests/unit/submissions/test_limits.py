"""Archives that would cost far more than their bytes: each is refused by a process with little time and memory."""

import dataclasses
import hashlib
import io
import json
import os
import re
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bench.engine.means import Means
from bench.store.galleries import Gallery, Tile
from bench.store.home import Home
from bench.store.parquet import SCHEMA
from bench.store.runs import RunStore
from bench.submissions.check import check_archive
from tests.submissions import archive_of, honest_rows, parquet_bytes, put, write_run

SECONDS, MEGABYTES = (
    4,
    200,
)  # of one process beyond what it needs to start; a refusal takes less than half of the seconds
MANIFEST, RECORD, VERDICTS = "manifest.json", "record.json", "verdicts.parquet"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The members of an honest archive of 24 images."""
    folder = write_run(tmp_path_factory.mktemp("honest"))
    return {name: (folder / name).read_bytes() for name in (RECORD, VERDICTS)}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The members of an archive of as many images as are allowed, whose last figure is wrong."""
    folder = write_run(tmp_path_factory.mktemp("many"), honest_rows(100_000))
    return {name: (folder / name).read_bytes() for name in (RECORD, VERDICTS)}


def poor(path) -> tuple[int, str, int]:
    """Check an archive in a process with limits: its exit status, what it says, and megabytes beyond the start."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            used, before = int(sum(os.times()[:2])), memory("VmRSS")
            resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, used + SECONDS))
            done = check_archive(path, Means(RunStore(path.parent / "none"), Home(path.parent / "home")), judge=False)
            os.write(write, f"{memory('VmHWM') - before} {done.refused or 'accepted'}".encode())
            os._exit(done.exit_code)
        finally:
            os._exit(99)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        more, _, said = pipe.read().decode().partition(" ")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, said, int(more or MEGABYTES) // 1024


def memory(name: str) -> int:
    """Kilobytes of this process, resident now or at most."""
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def directory(entries: int, *, said: int | None = None) -> bytes:
    """A zip file that is a list of nameless members alone, and the number of members that it declares."""
    said = entries if said is None else said
    listed = (b"PK\x01\x02" + bytes(42)) * entries
    large = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, said, said, len(listed), 0)
    large += struct.pack("<4sLQL", b"PK\x06\x07", 0, len(listed), 1)
    most = min(said, 0xFFFF)
    return listed + large + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, most, most, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def record_with(members, path, value) -> bytes:
    return json.dumps(put(json.loads(members[RECORD]), path, value)).encode()


def png(*chunks: tuple[bytes, bytes], size=(8, 8)) -> bytes:
    """A picture with more chunks before its pixels."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(out, "PNG")
    data = out.getvalue()
    more = b"".join(
        struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body)) for name, body in chunks
    )
    return data[:33] + more + data[33:]


def bomb(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 2**20))


def tables(rows) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=SCHEMA)


JSONS = {
    "4 MB of empty lists": b'{"notes": [' + b"[]," * 1_300_000 + b"[]]}",
    "1 MB of empty lists": b'{"notes": [' + b"[]," * 330_000 + b"[]]}",
    "as many empty lists as are allowed": b'{"notes": [' + b"[]," * 9_000 + b"[]]}",
    "as many keys as are allowed": b"{" + b",".join(b'"%d":1' % i for i in range(9_000)) + b"}",
    "one key again and again": b"{" + b'"a":1,' * 9_000 + b'"a":1}',
    "nested lists": b"[" * 900_000,
    "nested objects": b'{"a":' * 9_000,
    "a million digits": b'{"run_id": ' + b"9" * 900_000 + b"}",
    "a million decimals": b'{"run_id": 0.' + b"9" * 900_000 + b"}",
    "a long exponent": b'{"run_id": 1e' + b"9" * 900_000 + b"}",
    "a long text": b'{"run_id": "' + b"x" * 900_000 + b'"}',
    "surrogates": b'{"run_id": "' + b"\\ud800" * 150_000 + b'"}',
    "combining marks": '{{"run_id": "a{}"}}'.format("\u0301" * 400_000).encode(),
    "nothing but commas": b"," * 900_000,
    "white space": b" " * 900_000,
}


@pytest.mark.parametrize("name", JSONS)
@pytest.mark.parametrize("member", [RECORD, MANIFEST, "gallery.json"])
def test_json_that_costs_more_than_its_bytes(honest, tmp_path, name, member):
    path = tmp_path / "a.zip"
    members = {**honest, "gallery.png": png()} if member == "gallery.json" else honest
    if member == MANIFEST:
        with zipfile.ZipFile(path, "w") as file:
            for part, data in members.items():
                file.writestr(part, data)
            file.writestr(MANIFEST, JSONS[name])
    else:
        archive_of(path, {**members, member: JSONS[name]})
    status, said, more = poor(path)
    assert status == 2, said
    assert member == RECORD or member.partition(".")[0] in said
    assert more < MEGABYTES


LISTS = {
    "680,000 members": directory(680_000),
    "680,000 members that are called one": directory(680_000, said=1),
    "20,000 members that are called one": directory(20_000, said=1),
    "10,000 members without a name": directory(10_000),
    "2**60 members": directory(0, said=2**60),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_members_that_cost_more_than_their_bytes(tmp_path, name):
    path = tmp_path / "a.zip"
    path.write_bytes(LISTS[name])
    status, said, more = poor(path)
    assert status == 2, said
    assert ("archive: " in said) or ("member " in said)
    assert more < MEGABYTES


def test_a_manifest_of_as_many_members_as_are_allowed(honest, tmp_path):
    about = {f"adversarial/{i:05d}.safetensors": {"size": 0, "sha256": "0" * 64} for i in range(10_000)}
    status, said, more = poor(archive_of(tmp_path / "a.zip", honest, manifest={"members": about}))
    assert (status, "manifest.members: " in said, more < MEGABYTES) == (2, True, True), said


def parquet_cases(many):
    """Verdict files by what is wrong with them; each for as many images as are allowed, if the footer has to fit."""
    rows, few = honest_rows(100_000), honest_rows()
    same = tables([dataclasses.replace(row, image_id=f"{'x' * 50_000}{i}") for i, row in enumerate(few)])
    shared = tables(rows).set_column(0, SCHEMA.field(0), pa.array([f"{'x' * 2000}{i:05d}" for i in range(100_000)]))
    plain = {"use_dictionary": False, "compression": "zstd"}
    wide = pa.table({f"c{i}": pa.array([1]) for i in range(3000)})
    endless = b"\x15\x02\x19\xfc\xff\xff\xff\xff\x07"  # version 1, then a list of 2**31 structs
    noted = tables(few).replace_schema_metadata({"a": "x" * 3_000_000})
    return {
        "texts by differences": (
            parquet_bytes(shared, **plain, column_encoding={"image_id": "DELTA_BYTE_ARRAY"}),
            many,
        ),
        "numbers by differences": (
            parquet_bytes(tables(few), use_dictionary=False, column_encoding={"label": "DELTA_BINARY_PACKED"}),
            None,
        ),
        "200 MB of one text": (parquet_bytes(shared, **plain), many),
        "10,000 row groups": (parquet_bytes(tables(rows), row_group_size=10), many),
        "a page for each row": (
            parquet_bytes(tables(rows), data_page_size=1, write_batch_size=3, use_dictionary=False),
            many,
        ),
        "3,000 columns": (parquet_bytes(wide), None),
        "3 MB in the footer": (parquet_bytes(noted), None),
        "1 MB of texts": (parquet_bytes(same, **plain), None),
        "a list of 2**31 entries in the footer": (b"PAR1" + endless + struct.pack("<L", len(endless)) + b"PAR1", None),
    }  # fmt: skip


def test_verdict_files_that_cost_more_than_their_bytes(honest, many, tmp_path):
    for name, (data, members) in parquet_cases(many).items():
        status, said, more = poor(archive_of(tmp_path / "a.zip", {**(members or honest), VERDICTS: data}))
        assert status == 2, (name, said)
        assert "verdicts.parquet" in said, (name, said)
        assert more < MEGABYTES, (name, more)


PICTURES = {
    "400 megapixels": png(size=(20_000, 20_000)),
    "50 megapixels": png(size=(7_000, 7_000)),
    "100,000 chunks": png(*[(b"tEXt", b"a\0b")] * 100_000),
    "a text of 500 MB": png((b"zTXt", b"a\0\0" + bomb(500))),
    "900 texts of 1 MB": png(*[(b"zTXt", b"a%d\0\0" % i + bomb(1)) for i in range(900)]),
    "a profile of 500 MB": png((b"iCCP", b"a\0\0" + bomb(500))),
    "an international text of 500 MB": png((b"iTXt", b"a\0\1\0\0\0" + bomb(500))),
    "a million frames": png((b"acTL", struct.pack(">LL", 1_000_000, 0)), (b"fcTL", bytes(26))),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_cost_more_than_their_bytes(honest, tmp_path, name):
    record, picture = json.loads(honest[RECORD]), PICTURES[name]
    row = honest_rows()[0]
    gallery = Gallery(
        run_id=record["run_id"], verdicts=record["digests"]["verdicts"], picture=hashlib.sha256(picture).hexdigest(),
        budget="linf:1/10", scale=1, choice="one", caption="one",
        tiles=[Tile(**{field: getattr(row, field) for field in Tile.model_fields})],
    )  # fmt: skip
    members = {**honest, "gallery.png": picture, "gallery.json": gallery.model_dump_json().encode()}
    status, said, more = poor(archive_of(tmp_path / "a.zip", members))
    assert (status, said.partition(":")[0], "gallery.png" in said) == (2, "a.zip", True), said
    assert more < MEGABYTES


def test_an_honest_run_of_as_many_images_as_are_allowed_is_taken(many, tmp_path):
    status, said, _ = poor(archive_of(tmp_path / "a.zip", many))
    assert (status, said) == (0, "accepted")


def test_a_run_of_many_images_whose_last_figure_is_wrong(many, tmp_path):
    """The dearest of refusals: everything is read."""
    forged = record_with(many, ("metrics", "robust_accuracy_interval"), [0.1, 0.9])
    status, said, more = poor(archive_of(tmp_path / "a.zip", {**many, RECORD: forged}))
    assert (status, said.partition(" is ")[0]) == (2, "a.zip: metrics.robust_accuracy_interval:")
    assert more < MEGABYTES
