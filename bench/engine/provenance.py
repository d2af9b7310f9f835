"""Provenance of a run: machine and software."""

from __future__ import annotations

import platform
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from bench.core.devices import name_of
from bench.store.record import Provenance

_PACKAGES = ("keybench", "torch", "torchvision", "timm", "peft", "pyautoattack", "robustbench", "numpy", "safetensors")


def provenance(
    *, started: str, argv: list[str], device: str, key_name: str | None, isolated: bool | None = None
) -> Provenance:
    """Everything about the machine and the software that is recorded."""
    commit = _git("rev-parse", "HEAD")
    return Provenance(
        started=started,
        command=shlex.join(argv),
        versions={"python": platform.python_version(), **_versions()},
        git_commit=commit,
        git_dirty=bool(_git("status", "--porcelain", "--", "bench", "pyproject.toml")) if commit else None,
        platform=f"{platform.system()} {platform.machine()}",
        device=name_of(device),
        precision="fp32",
        threads=torch.get_num_threads(),
        key_name=key_name,
        isolated=isolated,
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(*words: str) -> str | None:
    """The git state of the checkout with this package; None if the package is installed elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
