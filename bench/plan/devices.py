"""Accelerators with their published figures."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from bench.core.errors import UnknownNameError
from bench.core.frozen import Frozen
from bench.core.names import suggestion
from bench.core.nouns import Precision

_TERA, _GIGA = 10**12, 10**9


class Device(Frozen):
    """One entry of devices.yaml; see the header of that file."""

    name: str
    bf16: float | None
    tf32: float | None
    fp32: float
    memory: float

    def peak(self, precision: Precision) -> float:
        """Floating-point operations per second; those of fp32 if the device does not support ``precision``."""
        return _TERA * (self._published(precision) or self.fp32)

    def has(self, precision: Precision) -> bool:
        """Whether the device supports this precision."""
        return self._published(precision) is not None

    @property
    def bytes(self) -> float:
        """Memory in bytes."""
        return _GIGA * self.memory

    def _published(self, precision: Precision) -> float | None:
        return {Precision.BF16: self.bf16, Precision.TF32: self.tf32}.get(precision, self.fp32)


@cache
def devices() -> dict[str, Device]:
    """All devices by their short names."""
    text = (resources.files("bench.plan") / "devices.yaml").read_text(encoding="utf-8")
    return {name: Device.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def find_device(name: str) -> Device:
    """Look up the device called ``name``.

    Raises:
        UnknownNameError: if there is none; similar names are suggested.
    """
    if name not in devices():
        raise UnknownNameError(f"unknown device {name!r}{suggestion(name, devices())} (of --on)")
    return devices()[name]
