"""Checkpoints of a training, written atomically, so that an interrupted training resumes."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from bench.core.errors import CorruptArtifactError, StorageError

_NAME = "checkpoint.pt"
_DIGEST = 32  # bytes of SHA-256 before torch's file
_PLACE = ("last_epoch", "_step_count", "_last_lr")  # the state of a schedule; its other fields come from the recipe


@dataclass(frozen=True)
class Checkpoint:
    """Everything that training changes: trained weights and buffers, optimizer, schedule."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler

    def save(self, folder: Path, step: int) -> None:
        """Write the state after ``step`` steps.

        Raises:
            StorageError: if the folder cannot be written; the previous checkpoint remains.
        """
        state = {
            "step": step,
            "model": _moving(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {name: getattr(self.schedule, name) for name in _PLACE},
        }
        part = folder / f"{_NAME}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            torch.save(state, buffer)
            with part.open("wb") as file:
                file.write(hashlib.sha256(buffer.getbuffer()).digest())
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, folder / _NAME)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            raise StorageError(f"cannot write {folder / _NAME}: {reason}; expected free space") from error

    def load(self, folder: Path) -> int:
        """Restore the state in ``folder``; returns the number of completed steps, 0 if there is none.

        Raises:
            CorruptArtifactError: if the file is not such a checkpoint.
        """
        path = folder / _NAME
        if not path.exists():
            return 0
        try:
            data = memoryview(path.read_bytes())
            if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
                raise ValueError("its bytes do not have their SHA-256")
            state: dict[str, Any] = torch.load(io.BytesIO(data[_DIGEST:]), map_location="cpu", weights_only=True)
            own = dict(_moving(self.model))
            if own.keys() != state["model"].keys():
                raise ValueError("it belongs to another model")
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(state["model"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict({**self.schedule.state_dict(), **state["schedule"]})
            step: int = state["step"]
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())[:100]
            raise CorruptArtifactError(
                f"checkpoint {path} cannot be used ({reason}); delete it to train from the start"
            ) from None
        return step


def drop(folder: Path) -> None:
    """Delete the checkpoint, and what a killed process left of one; the log remains."""
    for name in (_NAME, f"{_NAME}.part"):
        (folder / name).unlink(missing_ok=True)


def _moving(model: nn.Module) -> dict[str, Tensor]:
    """Trainable weights and all persistent buffers, by name."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    state = model.state_dict(keep_vars=True)
    return {name: t.detach() for name, t in state.items() if name in trained or name not in frozen}
