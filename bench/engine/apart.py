"""Verdicts of a model in a process of its own, which holds nothing but the model and images."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from bench.core.errors import BenchError, InputError
from bench.core.seeds import seed_of
from bench.engine.answering import Answering, AnsweringHere
from bench.engine.making import Making
from bench.engine.world import World
from bench.models.standalone import Makeup, packed

# Packages with modules that are no plug-in's.
_OURS = ("bench", "torch", "torchvision", "timm", "peft", "robustbench")
_ENTRY = "from bench.models.standalone import serve; serve({})"


def answering_of(world: World, isolate: bool | None) -> Answering:
    """The deployed model as the judge asks it; ``close`` it afterwards.

    Args:
        world: The deployment, with models.
        isolate: Whether in a process of its own; None: if code from outside is in the model.
    """
    rows, maker = world.spec.profile.judge_batch, cast("Making", world.maker)
    if from_outside(world) if isolate is None else isolate:
        return AnsweringApart(maker.parts(world.holders.target()), rows, world.spec.seed)
    return AnsweringHere(world.target.model, rows)


def from_outside(world: World) -> bool:
    """Whether the defense, or any module of its model, comes from another distribution than this one and its own."""
    model = world.target.model
    modules = list(model.modules()) if isinstance(model, nn.Module) else [model]
    return any(type(part).__module__.partition(".")[0] not in _OURS for part in (world.defense, *modules))


class AnsweringApart:
    """A model that is asked in a process of its own.

    Every sitting is a fresh copy of the model. The versions of an image (clean, adversarial, ...) are in different
    sittings, and each sitting has images of every version in random order, without labels.

    Args:
        parts: What the model is made from.
        rows: Images per forward of a verdict, the last one padded.
        seed: Of the orders, and of a model's own random numbers.
    """

    def __init__(self, parts: Makeup, rows: int, seed: int) -> None:
        self._rows, self._seed, self._sittings = rows, seed, 0
        self._line = self._started(parts)

    def answers(self, versions: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`bench.engine.answering.Answering`."""
        count, device = len(versions[0]), versions[0].device
        drawn = Generator().manual_seed(self._drawn())
        turn = torch.randint(len(versions), (count,), generator=drawn)
        stacked = torch.stack([images.cpu() for images in versions])
        found: Tensor | None = None
        for sitting in range(len(versions)):
            order = torch.randperm(count, generator=drawn)
            which = (turn[order] + sitting) % len(versions)
            logits = self._asked(stacked[which, order], self._rows, padded=True)
            if found is None:
                found = torch.empty(len(versions), count, logits.shape[1])
            found[which, order] = logits
        return [] if found is None else list(found.to(device))

    def again(self, images: Tensor, size: int, *, gradient: bool) -> Tensor:
        """See :class:`bench.engine.answering.Answering`."""
        return self._asked(images.cpu(), size, gradient=gradient).to(images.device)

    def close(self) -> None:
        """End the process."""
        self._end()

    def _drawn(self) -> int:
        self._sittings += 1
        return seed_of(self._seed, "sitting", self._sittings) % 2**63

    def _asked(self, images: Tensor, rows: int, *, padded: bool = False, gradient: bool = False) -> Tensor:
        request = {
            "shape": list(images.shape),
            "rows": rows,
            "padded": padded,
            "gradient": gradient,
            "seed": self._drawn(),
            "threads": torch.get_num_threads(),
        }
        try:
            self._line.send_bytes(json.dumps(request).encode())
            self._line.send_bytes(images.contiguous().numpy().tobytes())
            header, data = json.loads(self._line.recv_bytes()), self._line.recv_bytes()
        except (OSError, EOFError):
            raise BenchError(f"{_LOST}; {_ADVICE}") from None
        if "error" in header:
            raise InputError(f"in the process that judges the model: {header['error']}; expected a model that its "
                             "defense can load there from its files, or --no-isolate")  # fmt: skip
        return torch.frombuffer(bytearray(data), dtype=torch.float32).view(header["shape"])

    def _started(self, parts: Makeup) -> Connection:
        here, there = socket.socketpair()
        path = os.pathsep.join(dict.fromkeys(folder for folder in sys.path if folder))
        with there:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _ENTRY.format(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # the terminal's Ctrl-C is for the parent, with which it ends
            )
        line = Connection(here.detach())
        self._end = weakref.finalize(self, _ended, process, line)
        try:
            line.send_bytes(packed(parts))
        except OSError:
            raise BenchError(f"{_LOST}; {_ADVICE}") from None
        return line


_LOST = "the process that judges the model ended unexpectedly"
_ADVICE = "run the same command again to resume, or judge in this process with --no-isolate"


def _ended(process: subprocess.Popen[Any], line: Connection) -> None:
    line.close()
    process.kill()  # it holds nothing that could be lost
    process.wait()
