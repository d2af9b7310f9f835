"""Verdict files and pictures of strangers: what they declare, and what they unpack to."""

import contextlib
import dataclasses
import io
import json
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.core.nouns import Outcome
from bench.store.compact import Steps
from bench.store.footer import CODECS, Chunk, read_footer
from bench.store.parquet import SCHEMA
from bench.store.seals import seal_table
from bench.store.untrusted import RefusedError
from bench.submissions.intake import read_run
from bench.submissions.pages import unpacked_size
from bench.submissions.verdicts import parse_verdicts
from tests.submissions import (
    SCRIPT,
    add_picture,
    changed,
    honest_rows,
    parquet_bytes,
    put,
    refused,
    unsealed,
    write_run,
)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "results")


def replace_verdicts(folder, data) -> str:
    (folder / "verdicts.parquet").write_bytes(data)
    return refused(folder)


def test_verdict_files_that_are_none(run):
    whole = (run / "verdicts.parquet").read_bytes()
    for cut in (1, 8, 500, len(whole) - 10, len(whole)):
        assert replace_verdicts(run, whole[:-cut]) == "verdicts.parquet"
    for at in range(20, len(whole), 97):  # whatever is turned over, it is refused or it is the same
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        (run / "verdicts.parquet").write_bytes(broken)
        with contextlib.suppress(RefusedError):
            assert list(read_run(run).rows) == honest_rows()


def test_the_verdicts_of_another_run(run, tmp_path):
    other = write_run(tmp_path / "other", changed(honest_rows(), 0, adversarial_prediction=9, outcome=Outcome.FOOLED))
    assert replace_verdicts(run, (other / "verdicts.parquet").read_bytes()) == "digests.verdicts"


def test_what_the_footer_declares_is_checked_before_anything_is_unpacked(run):
    table = pa.Table.from_pylist([dataclasses.asdict(r) for r in honest_rows()], schema=SCHEMA)
    ten = table.slice(0, 10)
    assert replace_verdicts(run, parquet_bytes(ten)) == "verdicts.parquet: rows"
    wide = table.append_column("extra", pa.array([SCRIPT] * 24))
    assert replace_verdicts(run, parquet_bytes(wide)) == "verdicts.parquet: columns"
    other = table.set_column(1, pa.field("label", pa.int64(), nullable=False), table["label"].cast(pa.int64()))
    assert replace_verdicts(run, parquet_bytes(other)) == "verdicts.parquet: columns"
    assert replace_verdicts(run, parquet_bytes(table, compression="gzip")) == "verdicts.parquet: compression"
    long = table.set_column(0, SCHEMA.field(0), pa.array([f"{i}{'x' * 100_000}" for i in range(24)]))
    assert replace_verdicts(run, parquet_bytes(long)) == "verdicts.parquet: sizes"


def zigzag(value: int) -> bytes:
    """A thrift compact integer."""
    value, out = value * 2, b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def forge_footer(folder, old: bytes, new: bytes) -> str:
    """Put other numbers into the footer of the verdict file; the field that is named."""
    whole = (folder / "verdicts.parquet").read_bytes()
    (size,) = struct.unpack("<L", whole[-8:-4])
    body, footer = whole[: -8 - size], whole[-8 - size : -8]
    assert old in footer
    forged = footer.replace(old, new, 1)
    return replace_verdicts(folder, resealed(body + forged + struct.pack("<L", len(forged)) + b"PAR1"))


def resealed(data: bytes) -> bytes:
    """With a digest that fits, where there is one: a forger makes it again."""
    place = data.rfind(b"sha256=") + len(b"sha256=")
    return data if place < len(b"sha256=") else seal_table(data[:place] + b"0" * 64 + data[place + 64 :])


def test_ten_gigabytes_of_rows_declared_in_the_footer(run):
    """num_rows is field 3 of thrift's FileMetaData: 0x16 (next field, i64), the number; then a list, 0x19."""
    rows = 10 * 2**30 // 90
    assert (
        forge_footer(run, b"\x16" + zigzag(24) + b"\x19", b"\x16" + zigzag(rows) + b"\x19") == "verdicts.parquet: rows"
    )


def test_ten_gigabytes_unpacked_declared_in_the_footer(run):
    """Sizes are fields 6 and 7 of ColumnMetaData: 0x16, unpacked, 0x16, packed."""
    chunk = pq.read_metadata(run / "verdicts.parquet").row_group(0).column(8)
    packed = b"\x16" + zigzag(chunk.total_compressed_size)
    old, new = (b"\x16" + zigzag(n) + packed for n in (chunk.total_uncompressed_size, 10 * 2**30))
    assert forge_footer(run, old, new) == "verdicts.parquet: sizes"


def test_a_page_that_unpacks_to_more_than_the_footer_says(run):
    """80 MB of zeros in some kilobytes of zstd, and a footer that says 1,000 bytes."""
    table = pa.Table.from_pylist([dataclasses.asdict(r) for r in honest_rows()], schema=SCHEMA)
    bomb = table.set_column(0, SCHEMA.field(0), pa.array([f"{i}{'0' * 3_500_000}" for i in range(24)]))
    (run / "verdicts.parquet").write_bytes(parquet_bytes(bomb, compression="zstd"))
    assert (run / "verdicts.parquet").stat().st_size < 100_000
    chunk = pq.read_metadata(run / "verdicts.parquet").row_group(0).column(0)
    assert chunk.total_uncompressed_size > 80_000_000
    packed = b"\x16" + zigzag(chunk.total_compressed_size)
    old, new = (b"\x16" + zigzag(n) + packed for n in (chunk.total_uncompressed_size, 1000))
    assert forge_footer(run, old, new) == "verdicts.parquet: sizes"


@pytest.mark.parametrize(
    "options", [{}, {"data_page_version": "2.0"}, {"compression": "snappy"}, {"use_dictionary": False}]
)
def test_pages_are_measured_as_the_footer_of_an_honest_file_says(run, options):
    table = pa.Table.from_pylist([dataclasses.asdict(r) for r in honest_rows()], schema=SCHEMA)
    data = parquet_bytes(table, data_page_size=64, row_group_size=7, **options)
    about = pq.read_metadata(io.BytesIO(data))
    groups = read_footer(data).groups
    assert len(groups) == about.num_row_groups == 4
    for at, (rows, chunks) in enumerate(groups):
        theirs = about.row_group(at)
        assert rows == theirs.num_rows
        for number, chunk in enumerate(chunks):
            column = theirs.column(number)
            assert CODECS[chunk.codec] == column.compression
            assert chunk == Chunk(
                chunk.codec,
                column.num_values,
                column.total_uncompressed_size,
                column.total_compressed_size,
                column.data_page_offset,
                column.dictionary_page_offset,
            )
            # the footer counts the headers of the pages too
            assert 0 < unpacked_size(data, chunk, Steps()) < column.total_uncompressed_size
    assert parse_verdicts(data, len(table)).rows == honest_rows()


def test_a_text_that_all_rows_share_is_not_written_out_for_each(run):
    rows = [dataclasses.replace(r, image_id="x" * 90_000) for r in honest_rows()]
    table = pa.Table.from_pylist([dataclasses.asdict(r) for r in rows], schema=SCHEMA)
    assert replace_verdicts(run, parquet_bytes(table)) == "verdicts.parquet: image_id"


@pytest.fixture
def pictured(run):
    """A run with a picture."""
    add_picture(run)
    return run


def test_a_picture(pictured):
    shown = read_run(pictured).gallery
    assert shown is not None
    assert shown.caption == "two digits"
    path = pictured / "gallery.json"
    data = unsealed(path)
    for field, value in (("caption", SCRIPT), ("picture", "0" * 64), ("budget", "linf:1/2"), ("choice", "a\nb")):
        path.write_text(json.dumps({**data, field: value}))
        assert refused(pictured) == f"gallery.{field}"
    path.write_text(json.dumps(put(data, ("tiles", 1, "outcome"), "robust")))
    assert refused(pictured) == "gallery.tiles.1"
    path.write_text(json.dumps({**data, "verdicts": "0" * 64}))
    assert read_run(pictured).gallery is None
    (pictured / "gallery.png").unlink()
    assert refused(pictured) == "gallery.png"


@pytest.mark.parametrize("kind", ["huge", "gif", "svg", "cut", "large", "link"])
def test_a_picture_that_is_none(pictured, tmp_path, kind):
    path = pictured / "gallery.png"
    if kind == "huge":  # a header that declares 3.6 gigapixels
        data = bytearray(path.read_bytes())
        data[16:24] = struct.pack(">LL", 60_000, 60_000)
        path.write_bytes(data)
    elif kind == "gif":
        Image.new("P", (4, 4)).save(path, "GIF")
    elif kind == "svg":
        path.write_text("<svg onload='alert(1)'/>")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif kind == "large":
        path.write_bytes(path.read_bytes() + b"\0" * 2_000_001)
    else:
        path.rename(tmp_path / "x.png")
        path.symlink_to(tmp_path / "x.png")
    assert refused(pictured) in ("gallery.png", "gallery.picture")
