"""Files of weights that ask for more than they hold, or hold something odd: one line, at once."""

import io
import json
import struct
import zipfile

import pytest
import torch

from bench.core.errors import InputError
from bench.models.state_files import read_state


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def entry(offsets, **more) -> bytes:
    return safetensors(json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": offsets, **more}}).encode())


def saved(content) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def deflated(megabytes: int) -> bytes:
    """torch's own file of zeros, its entries compressed."""
    out = io.BytesIO()
    whole = io.BytesIO(saved({"w": torch.zeros(megabytes, 2**18)}))
    with zipfile.ZipFile(whole) as plain, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    return out.getvalue()


def itself():
    content = {"model": {}}
    content["model"] = content
    return content


CASES = {
    "header too deep": (safetensors(b'{"a":' * 100_000), "unreadable header"),
    "offsets as text": (entry(["0", "4"]), "unreadable header"),
    "offsets missing": (entry([]), "unreadable header"),
    "offsets as a list": (entry([[0], [4]]), "unreadable header"),
    "offsets infinite": (entry([0, float("inf")]), "unreadable header"),
    "offsets far outside": (entry([0, 10**30]), "cut short"),
    "offsets before": (entry([0, -4]), "damaged safetensors file"),
    "header of a list": (safetensors(b"{}").replace(b"{}", b"[]"), "neither a safetensors nor a torch file"),
    "header alone": (safetensors(b"{}"), "holds no tensors"),
    "compressed": (deflated(8), "is compressed, or unpacks to more"),
    "contains itself": (saved(itself()), "holds a dict under 'model'"),
    "a key that is no text": (saved({("a", "b"): 1}), "under a tuple"),
    "meta": (saved({"w": torch.empty(3, device="meta")}), "holds a meta tensor under 'w'"),
    "sparse": (saved({"w": torch.eye(3).to_sparse()}), "holds a sparse_coo tensor under 'w'"),
    "complex": (saved({"w": torch.ones(3, dtype=torch.complex64)}), "holds a complex tensor under 'w'"),
    "repeated": (saved({"w": torch.ones(1).expand(10**12)}), "holds a repeated tensor under 'w'"),
    "a number": (saved(5), "holds a int, expected tensors by name"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_of_weights_is_one_line(tmp_path, case):
    data, text = CASES[case]
    path = tmp_path / ("w.safetensors" if data[8:9] == b"{" else "w.pth")
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_state(path)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_file_that_claims_entries_twice_is_not_unpacked(tmp_path):
    """Many entries over the same bytes: a small file that would be a large one."""
    data = saved({"w": torch.ones(1000)})
    with zipfile.ZipFile(io.BytesIO(data)) as plain:
        name = next(n for n in plain.namelist() if n.endswith("data/0"))
    start = data.index(b"PK\x01\x02")
    place = data.index(name.encode(), start) - 46
    directory = data[place : place + 46 + len(name)]
    forged = directory[:20] + struct.pack("<II", 2**31, 2**31) + directory[28:]
    (tmp_path / "w.pth").write_bytes(data.replace(directory, forged))
    with pytest.raises(InputError, match="unpacks to more than"):
        read_state(tmp_path / "w.pth")


def test_wrappers_of_a_state_are_opened(tmp_path):
    (tmp_path / "w.pth").write_bytes(saved({"model": {"state_dict": {"module.w": torch.ones(2)}}, "epoch": 3}))
    assert torch.equal(read_state(tmp_path / "w.pth")["w"], torch.ones(2))
