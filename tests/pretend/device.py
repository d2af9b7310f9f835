"""A device that is not there: its tensors say that they lie on ``pretend:0`` and compute on the CPU.

It is PyTorch's device for backends from outside (PrivateUse1) with kernels in Python. As on a GPU, operands on two
devices raise (a CPU number of no dimension may join, a CPU index too), ``numpy()`` raises, and what makes the host wait
is noted in :data:`tests.pretend.ledger.LEDGER`.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.pretend import autocast
from tests.pretend.backend import BACKEND, Hook
from tests.pretend.ledger import LEDGER
from tests.pretend.pinned import is_pinned, pin
from tests.pretend.rules import COPIES, RESHAPING, check_mixing, multiplied, note_waiting

NAME = "pretend"
aten = torch.ops.aten


class Pretended(Tensor):
    """A tensor on the pretended device; ``host`` has its values."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> Pretended:
        made: Pretended = Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            layout=host.layout, device=DEVICE,
        )  # fmt: skip
        made.host = host
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, *args, **(kwargs or {}))

    def __repr__(self, **_: Any) -> str:
        LEDGER.wait("print")
        return f"{self.detach().host!r}, on {NAME}"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else str(self)

    def tolist(self) -> Any:
        """Its values, for which the host waits."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused, as for every tensor on a device."""
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the "
                        "tensor to host memory first.")  # fmt: skip

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    @property
    def data(self) -> Any:
        """The tensor without its history; a module that changes its dtype sets it."""
        return self.detach()

    @data.setter
    def data(self, new: Pretended) -> None:
        Tensor.data.__set__(self, new)  # type: ignore[attr-defined]
        self.host = new.host

    def data_ptr(self) -> int:
        """Its address: nobody but PyTorch may look there."""
        return self.host.data_ptr()

    def untyped_storage(self) -> Any:
        """Its memory."""
        return self.host.untyped_storage()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """It is saved as a tensor of the CPU: what saves takes no copy to the host first, so the host waits."""
        LEDGER.wait("saved")
        host = self.detach().host
        return (nn.Parameter(host, self.requires_grad) if isinstance(self, nn.Parameter) else host).__reduce_ex__(
            protocol
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Pretended:
        if id(self) not in memo:
            copied = self.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied
        return memo[id(self)]


def computed(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Compute an operation on the CPU; its result lies where it would lie with a device."""
    if not BACKEND.used:
        raise RuntimeError(f"{NAME} is not available")
    if BACKEND.forked:
        raise RuntimeError(f"Cannot re-initialize {NAME} in forked subprocess")
    BACKEND.started = True
    flat: list[Any] = []
    own_args, own_kwargs = _host(args, flat), _host(kwargs, flat)
    there = [t for t in flat if isinstance(t, Pretended)]
    goal = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    if there:
        LEDGER.launches += 1
        BACKEND.noted([t.host for t in there], multiplied(func, own_args))
        if func not in COPIES:
            check_mixing(func, [t for t in flat if not isinstance(t, Pretended)])
        note_waiting(func, args)
    _note_copy(func, args, kwargs, goal)
    if goal is not None:
        own_kwargs["device"] = torch.device("cpu") if goal.type == NAME else goal
    own_kwargs.pop("pin_memory", None)
    if kwargs.get("generator") is not None:
        _check_generator(kwargs["generator"], on_device=bool(there) or (goal or CPU).type == NAME)
    out = func(*own_args, **own_kwargs)
    if BACKEND.recording is not None:
        BACKEND.recording.note(func, own_args, own_kwargs, out)
    if func._schema.name in RESHAPING:
        args[0].data = Pretended(out)
        return args[0]
    on_device = goal.type == NAME if goal is not None else bool(there) and _first_is_there(func, args)
    return _device(out, {id(t.host): t for t in there}, on_device)


def copied_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    """What PyTorch calls where it makes a tensor from Python numbers."""
    return computed(aten.copy_.default, to, source, non_blocking)


def _first_is_there(func: Any, args: Any) -> bool:
    return func is not aten.copy_.default or isinstance(args[0], Pretended)


def _note_copy(func: Any, args: Any, kwargs: Any, goal: torch.device | None) -> None:
    """A copy between host and device, which the host waits for unless it is asynchronous and the memory pinned."""
    if func is aten.copy_.default:
        to, source = (isinstance(t, Pretended) for t in args[:2])
        free = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
    elif func is aten._to_copy.default and goal is not None:
        to, source = goal.type == NAME, isinstance(args[0], Pretended)
        free = kwargs.get("non_blocking", False)
    else:
        return
    if to == source:
        return
    if to and free and is_pinned(args[1] if func is aten.copy_.default else args[0]):
        LEDGER.upload("to device")
    else:
        LEDGER.wait("copy to device" if to else "copy to host")


def _check_generator(generator: Any, *, on_device: bool) -> None:
    """Raise RuntimeError for a generator of another device."""
    if on_device != (generator._cdata in _GENERATORS):
        want, got = (NAME, "cpu") if on_device else ("cpu", NAME)
        raise RuntimeError(f"Expected a '{want}' device type for generator but found '{got}'")


def _host(value: Any, seen: list[Any]) -> Any:
    """``value`` with the CPU tensors of pretended ones; all tensors in it are added to ``seen``."""
    if isinstance(value, Tensor):
        seen.append(value)
        return value.host if isinstance(value, Pretended) else value
    if isinstance(value, (list, tuple)):
        return type(value)([_host(v, seen) for v in value])
    if isinstance(value, dict):
        return {name: _host(v, seen) for name, v in value.items()}
    return value


def _device(value: Any, known: dict[int, Pretended], on_device: bool) -> Any:
    """``value`` with its tensors on the device; an operand that was changed in place is itself."""
    if isinstance(value, Tensor):
        if (same := known.get(id(value))) is not None:
            return same
        return Pretended(value) if on_device else value
    if isinstance(value, (list, tuple)):
        return type(value)([_device(v, known, on_device) for v in value])
    return value


class AnyGenerator(torch.Generator):
    """What ``torch.Generator`` is while the device is used: it can be one of the device."""

    def __new__(cls, device: Any = "cpu") -> AnyGenerator:
        there = torch.device(device).type == NAME
        made: AnyGenerator = super().__new__(cls, "cpu" if there else device)
        if there:
            _GENERATORS[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:
        """Its device."""
        return DEVICE if self._cdata in _GENERATORS else super().device


_GENERATORS: WeakValueDictionary[int, AnyGenerator] = WeakValueDictionary()
CPU = torch.device("cpu")
_setup_privateuseone_for_python_backend(rename=NAME, backend_module=BACKEND, hook=Hook(BACKEND))
DEVICE = torch.device(NAME, 0)
_EVERYWHERE = torch.library.Library("_", "IMPL")
_EVERYWHERE.fallback(computed, "PrivateUse1")
_EVERYWHERE.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
_ATEN = torch.library.Library("aten", "IMPL")
_ATEN.impl("_copy_from", copied_from, "PrivateUse1")
autocast.register(_ATEN, NAME)
pin(BACKEND)
