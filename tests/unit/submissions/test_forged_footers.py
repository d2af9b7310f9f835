"""Footers and page headers changed by a forger, with a digest that fits: no reader may end the process over them."""

import subprocess
import sys

import pytest

CHILD = """
import random, sys
from pathlib import Path
from bench.core.errors import BenchError
from bench.store.parquet import decode
from bench.store.seals import seal_table
from bench.store.untrusted import RefusedError
from bench.submissions.verdicts import parse_verdicts
from bench.store.verdicts import write_rows
from tests.submissions import honest_rows

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
path = folder / "verdicts.parquet"
write_rows(path, honest_rows())
whole, draw, read, refused = path.read_bytes(), random.Random(rounds), 0, 0
start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
for at in range(rounds):
    place = draw.randrange(start, len(whole)) if at % 3 else draw.randrange(4, start)
    kind = draw.randrange(4)
    if kind == 0:
        data = whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :]
    elif kind == 1:
        data = whole[:place] + draw.randbytes(draw.randrange(1, 5)) + whole[place + 1 :]
    elif kind == 2:
        data = whole[:place] + whole[place + draw.randrange(1, 9) :]
    else:
        data = whole[:place] + whole[-8:]
    if kind in (1, 2) and place >= start and data[-4:] == b"PAR1":  # the length fits the changed footer
        data = data[:-8] + (len(data) - 8 - start).to_bytes(4, "little") + data[-4:]
    if (seal := data.rfind(b"sha256=") + 7) > 6:
        data = seal_table(data[:seal] + b"0" * 64 + data[seal + 64 :])
    path.write_bytes(data)
    for reader in (lambda: decode(path), lambda: parse_verdicts(data, 24)):
        try:
            reader()
            read += 1
        except (BenchError, RefusedError):
            refused += 1
print(read, refused)
"""


@pytest.mark.parametrize("rounds", [250, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_forged_file_is_read_or_refused_and_the_process_lives(tmp_path, rounds):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(rounds)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    read, refused = map(int, done.stdout.split())
    assert read + refused == 2 * rounds
    assert read
    assert refused > rounds // 2
