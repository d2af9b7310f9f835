"""A model in a process of its own, which is given images and nothing else.

The model is made from its files, and each request is answered by a new fork of a process that never asks it: what a
model keeps from one request to the next, in attributes, in classes or in modules, is gone with the fork.
"""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from bench.core.errors import BenchError, InputError
from bench.core.key import Key
from bench.core.logits import answer, padded
from bench.core.parent import killed_with_parent
from bench.core.plugins import Defense, Kit, Split, TrainingMeans
from bench.core.profile import Profile
from bench.core.registry import registry


@dataclass(frozen=True)
class Makeup:
    """What a model is made from.

    Attributes:
        device: Where it answers.
        start: The starting model of fine-tuning, or the model itself without a folder; None if none is needed.
        folder: The stored files of a defended model; None for ``start`` as it is.
        defense: Name of the defense.
        options: Its options.
        profile: The profile.
        seed: The seed of the model's holder.
        weights: File or folder of weights that the user gave.
        offline: Whether network access is disabled.
        secret: The key in hexadecimal digits; None for a defense without one.
    """

    device: str
    start: nn.Module | None
    folder: Path | None = None
    defense: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    profile: Profile | None = None
    seed: int = 0
    weights: Path | None = None
    offline: bool = False
    secret: str | None = field(default=None, repr=False)

    def make(self) -> nn.Module:
        """The model, on its device, in evaluation mode.

        Raises:
            InputError: if the defense is not installed or needs more than files and key.
        """
        if self.folder is None or self.profile is None:
            return self._fresh().eval().to(self.device)
        defense: Defense = registry("defenses").make(self.defense, self.options)
        kit = Kit(
            start=lambda: self._fresh().requires_grad_(True),
            weights=self.weights,
            offline=self.offline,
            key=Key(bytes.fromhex(self.secret)) if self.secret else None,
            data=_no_data,
            profile=self.profile,
            seed=self.seed,
            training=TrainingMeans(device=self.device),
        )
        return defense.load(kit, self.folder)

    def _fresh(self) -> nn.Module:
        if self.start is None:
            raise InputError("a model with its own weights has no starting model")
        return copy.deepcopy(self.start).to(self.device)


def packed(parts: Makeup) -> bytes:
    """``parts`` as bytes, for :func:`serve`."""
    out = io.BytesIO()
    torch.save(parts, out)
    return out.getvalue()


def serve(descriptor: int) -> None:
    """Answer requests on a socket until it is closed: first the parts of the model, then images."""
    killed_with_parent()
    line = Connection(descriptor)
    torch.set_num_threads(1)  # a fork does not inherit threads
    try:
        made = _made(line.recv_bytes())
        while True:
            request, data = json.loads(line.recv_bytes()), line.recv_bytes()
            for message in _forked(lambda request=request, data=data: _answered(made, request, data)):  # type: ignore[misc]
                line.send_bytes(message)
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return


def _made(data: bytes) -> nn.Module | Makeup | bytes:
    """The model; its parts for an accelerator, which a process cannot use before it forks; or what went wrong."""
    try:
        parts: Makeup = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
        model = replace(parts, device="cpu").make()  # for an accelerator: its imports, once
    except Exception as error:  # a plug-in may raise anything
        return _failure(_line(error))
    return model if parts.device == "cpu" else parts


def _forked(work: Callable[[], tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The result of ``work`` in a fork of this process: a JSON header and data."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _end_after(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        out = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    header, _, data = out.partition(b"\n")
    return (header, data) if code == 0 else (_failure(f"it ended with code {code} (out of memory?)"), b"")


def _end_after(work: Callable[[], tuple[bytes, bytes]], writing: int) -> NoReturn:
    try:
        killed_with_parent()
        header, data = work()
        with os.fdopen(writing, "wb") as stream:
            stream.write(header + b"\n" + data)
        os._exit(0)
    finally:
        os._exit(1)


def _answered(made: nn.Module | Makeup | bytes, request: dict[str, Any], data: bytes) -> tuple[bytes, bytes]:
    """The logits of one request, or what went wrong in one line."""
    if isinstance(made, bytes):
        return made, b""
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    images = torch.frombuffer(bytearray(data), dtype=torch.float32).view(request["shape"])
    try:
        model, device = (made.make(), made.device) if isinstance(made, Makeup) else (made, "cpu")
        logits = _logits(model, images.to(device), request).cpu().contiguous()
    except Exception as error:  # a plug-in may raise anything
        return _failure(_line(error)), b""
    return json.dumps({"shape": list(logits.shape)}).encode(), logits.numpy().tobytes()


def _logits(model: nn.Module, images: Tensor, request: dict[str, Any]) -> Tensor:
    rows, gradient = request["rows"], request["gradient"]
    if request["padded"]:
        return padded(model, images, rows)
    return torch.cat([answer(model, part, gradient=gradient) for part in images.split(rows)])


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    return said if isinstance(error, BenchError) else f"{type(error).__name__}: {said}"


def _failure(line: str) -> bytes:
    return json.dumps({"error": line}).encode()


def _no_data() -> Split:
    raise InputError("no training images are at hand where a model only answers")
