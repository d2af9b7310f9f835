"""Models that answer with one of several members, detected by their answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from inspect import getclosurevars
from types import FunctionType

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart, ask

_CALLS = 3  # in which several members must be seen
_MOST = 32  # modules that are tried as members


class Average(nn.Module):
    """The mean of the members' logits: the exact expectation of a draw among them."""

    traceable = True  # the same steps for every input

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of ``images`` (B, C, H, W)."""
        return torch.stack([member(images) for member in self.members]).mean(0)


def members_of(model: nn.Module, images: Tensor) -> list[tuple[str, list[nn.Module]]]:
    """Groups of modules, one of which may answer, by the name of the module that would choose.

    A module's ``members``, wherever it is; and for a module that is given the images themselves, all that it holds:
    children, lists and dictionaries of modules, and those that its functions refer to.
    """
    groups: list[tuple[str, list[nn.Module]]] = []
    front = _fed_with(model, images[:1].shape[1:], images[:2])
    for name, module in model.named_modules():
        if isinstance(module, Average):
            continue
        held = getattr(module, "members", None)
        group = list(held) if isinstance(held, nn.ModuleList) else _held(module) if name in front else []
        if len(group) > 1:
            groups.append((name, group))
    return groups


def find_drawn(model: nn.Module, images: Tensor) -> tuple[str, list[nn.Module]] | None:
    """Name of the module that answers with a random one of its members, and the members; None if there is none.

    Every row of the module's answer must equal a member's output on the same input, and more than one member must be
    drawn, whatever selects it and whatever its name.
    """
    for name, members in members_of(model, images):
        drawn = _drawn(model, name, members, images)
        if drawn:
            return name, drawn
    return None


def find_average(model: nn.Module, images: Tensor) -> nn.Module | None:
    """The model with the average instead of a random member, exact for :func:`find_drawn`; None if there is none."""
    found = find_drawn(model, images)
    if found is None:
        return None
    name, members = found
    if not name:
        return Average(members).eval()
    whole = copy.deepcopy(model)
    parent, _, leaf = name.rpartition(".")
    setattr(whole.get_submodule(parent), leaf, Average([copy.deepcopy(m) for m in members]).eval())
    return whole


def _drawn(model: nn.Module, name: str, members: list[nn.Module], images: Tensor) -> list[nn.Module]:
    """The members that can answer, if every answer of the module is one of theirs and several are seen."""
    once = _calls(model, name, images[:2], 1)
    alike = [m for m in members if _answers_like(m, *once[0])] if len(once) == 1 else []
    if len(alike) < 2:
        return []
    which: set[int] = set()
    for given, out in _calls(model, name, images, _CALLS):
        far = torch.stack([apart(ask(m, given), out.float()) for m in alike])
        if not bool((far.amin(0) < SAME).all()):
            return []
        which |= set(far.argmin(0).tolist())
    return alike if len(which) > 1 else []


def _calls(model: nn.Module, name: str, images: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Input and output of one of the model's modules in several calls of the model."""
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        seen.append((given[0].detach().clone(), out.detach()))

    handle = model.get_submodule(name).register_forward_hook(look)
    try:
        for _ in range(count):
            ask(model, images)
    finally:
        handle.remove()
    return seen


def _answers_like(member: nn.Module, given: Tensor, out: Tensor) -> bool:
    """Whether the member can be called on this input and answers in this shape."""
    try:
        return ask(member, given).shape == out.shape
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError):
        return False


def _fed_with(model: nn.Module, shape: torch.Size, images: Tensor) -> set[str]:
    """Names of the modules that are called with images of this shape and answer with a row for each."""
    names: set[str] = set()

    def watch(name: str) -> Callable[..., None]:
        def see(_: nn.Module, given: tuple[object, ...], out: object) -> None:
            image = len(given) == 1 and isinstance(given[0], Tensor) and given[0].shape[1:] == shape
            if image and isinstance(out, Tensor) and out.dim() == 2:
                names.add(name)

        return see

    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules()]
    try:
        ask(model, images)
    finally:
        for handle in handles:
            handle.remove()
    return names


def _held(module: nn.Module) -> list[nn.Module]:
    """Every module that ``module`` holds directly, in containers, or in what its functions refer to."""
    found: list[nn.Module] = []
    values: list[object] = [*vars(module)["_modules"].values(), *vars(module).values()]
    while values:
        value = values.pop(0)
        if isinstance(value, nn.ModuleList | nn.ModuleDict):
            values += list(value.children())
        elif isinstance(value, nn.Module):
            found.append(value)
        elif isinstance(value, list | tuple) and len(value) <= _MOST:
            values += list(value)
        elif isinstance(value, dict) and value is not vars(module)["_modules"] and len(value) <= _MOST:
            values += list(value.values())
        elif isinstance(value, FunctionType):
            values += list(getclosurevars(value).nonlocals.values())
    return list({id(m): m for m in found}.values())[:_MOST]
