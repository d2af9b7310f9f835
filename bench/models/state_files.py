"""External weight files, read without running code: their beginning, their length, their tensors."""

from __future__ import annotations

import argparse
import json
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.core.canonical import sha256_of
from bench.core.errors import InputError

_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # in the order in which timm prefers them
_WRAPPERS = ("module.", "_orig_mod.")  # from torch's data parallelism and torch.compile
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_AGAIN = "download it again"
_SHOWN = 80  # characters of a name in an error
_HEADER = 100_000_000  # bytes of a safetensors header, as that format allows


def expect_digest(path: Path, expected: str) -> str:
    """Check that a file has the expected SHA-256.

    Raises:
        InputError: if the digest differs.
    """
    got = sha256_of(path)
    if got != expected.lower():
        raise InputError(f"{path} has SHA-256 {got[:12]}, expected {expected.lower()[:12]}; give the matching file")
    return got


def check_file(path: Path) -> None:
    """Check a file's beginning and length, without reading the rest.

    Raises:
        InputError: if it is missing, empty, a web page, a Git LFS pointer, truncated, or of an unknown format.
    """
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}, expected a file of weights")
    with path.open("rb") as file:
        head = file.read(512)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise InputError(f"{path} is empty, expected weights; {_AGAIN}")
    if text.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{path} is a web page, not weights; {_AGAIN}")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not weights; run `git lfs pull` in its repository")
    if head.startswith(_ZIP):
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path} is cut short: a torch file without its end; {_AGAIN}")
        _check_zip(path)
    elif _is_safetensors(head, path):
        _check_safetensors(path)
    elif not head.startswith(_PICKLE):
        raise InputError(f"{path} is neither a safetensors nor a torch file (it begins with {head[:8]!r}); {_AGAIN}")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors or torch file by name, on the CPU, without containers and wrappers.

    Raises:
        InputError: see :func:`check_file`; or if it is damaged, contains code, or is not a dictionary of tensors.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(16)
    content: Any
    if not head.startswith(_ZIP) and _is_safetensors(head, path):
        try:
            content = load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is a damaged safetensors file ({one_line(error)}); {_AGAIN}") from error
    else:
        content = _read_torch(path)
    for _ in _CONTAINERS:  # a dictionary may contain itself
        key = next(
            (k for k in _CONTAINERS if isinstance(content, Mapping) and isinstance(content.get(k), Mapping)), None
        )
        content = content if key is None else content[key]
    return _unwrapped(_tensors(content, path))


def _is_safetensors(head: bytes, path: Path) -> bool:
    return head[8:9] == b"{" or (path.suffix == ".safetensors" and not head.startswith(_PICKLE))


def _check_zip(path: Path) -> None:
    """Check that a torch file holds what it says uncompressed, as torch writes it, before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises various exceptions for a damaged file
        raise InputError(f"{path} is a damaged torch file ({one_line(error)[:120]}); {_AGAIN}") from None
    size, packed = path.stat().st_size, next((e for e in entries if e.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or sum(entry.file_size for entry in entries) > size:
        raise InputError(f"{path} is compressed, or unpacks to more than its {size} bytes; expected a file as "
                         "torch.save writes it")  # fmt: skip


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise InputError(f"{path} is cut short: {size} bytes, its header alone needs {8 + length}; {_AGAIN}")
        if length > _HEADER:
            raise InputError(f"{path} has a header of {length} bytes; expected at most {_HEADER}")
        try:
            header = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1] + 0) for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError):
            raise InputError(f"{path} is a safetensors file with an unreadable header; {_AGAIN}") from None
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise InputError(f"{path} is cut short: {size} bytes, its header says {whole}; {_AGAIN}")


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # about old pickle formats
            with path.open("rb") as file:  # given a path, torch would go by the suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises various exceptions for a damaged file
        raise InputError(f"{path} {_why_unread(path, error)}") from error


def _why_unread(path: Path, error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    name = found[1] if found else _first_global(path) if "Unsupported operand" in str(error) else None
    last = name.rpartition(".")[2].encode() if name else b""
    if name and last not in path.read_bytes()[-len(last) - 1 :]:  # otherwise the file is truncated within that name
        return (
            f"holds code ({name}), which is not run; expected only tensors: "
            "convert it to safetensors on a machine where you trust it"
        )
    ended = isinstance(error, EOFError | OSError | IndexError | struct.error)
    if ended or name or re.search("unexpected EOF|truncated", str(error)):
        return f"is cut short, it ends too early; {_AGAIN}"
    return f"is a damaged torch file ({one_line(error)[:120]}); {_AGAIN}"


def _first_global(path: Path) -> str | None:
    """The first import of a plain pickle, read without executing it."""
    strings: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name in ("GLOBAL", "INST"):
                return str(argument).replace(" ", ".")
            if operation.name == "STACK_GLOBAL":
                return ".".join(strings[-2:])
            if isinstance(argument, str):
                strings.append(argument)
    except ValueError:
        return None
    return None


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, expected tensors by name (a state_dict)")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            where = repr(name[:_SHOWN]) if isinstance(name, str) else f"a {type(name).__name__}"
            raise InputError(
                f"{path} holds a {type(value).__name__} under {where}, expected tensors by name (a state_dict)"
            )
        if kind := _unusual(value):
            raise InputError(
                f"{path} holds a {kind} tensor under {name[:_SHOWN]!r}, expected plain tensors with values"
            )
    if not content:
        raise InputError(f"{path} holds no tensors, expected weights")
    return dict(content)


def _unusual(tensor: Tensor) -> str | None:
    """In which way a tensor is not a plain one with all its values in the file."""
    if tensor.device.type != "cpu":
        return tensor.device.type
    if tensor.layout is not torch.strided or tensor.is_nested:
        return "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
    if tensor.is_quantized or tensor.is_complex():
        return "quantized" if tensor.is_quantized else "complex"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "repeated"
    return None


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    bare: dict[str, Tensor] = {}
    for name, tensor in state.items():
        short = name
        while short.startswith(_WRAPPERS):
            short = short.partition(".")[2]
        bare[short] = tensor
    return bare if len(bare) == len(state) else state


def one_line(error: BaseException) -> str:
    """The error's text in one line."""
    return " ".join(str(error).split())
