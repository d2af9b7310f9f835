"""Backward approximations (BPDA, Athalye et al., arXiv:1802.00420) for steps with a missing or wrong gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import ask
from bench.core.nouns import Batch

_KEEP = (nn.Identity,)
_NEAR = 0.02  # share of the original segment: over a segment this short, a jumping output still changes by much more


def stood_in(model: nn.Module, images: Tensor) -> tuple[nn.Module, list[str]]:
    """A copy with identity gradients in its broken shape-preserving modules, and the names of those modules.

    A module is broken if it keeps the shape of its one input and its output has no graph, has zero gradient or jumps:
    forward is unchanged, backward is the identity, out = x + (out - x).detach().
    """
    twin = _copied(model)
    names = [name for name in _keeping_shape(twin, images) if _broken(twin, name, images)]
    names = [n for n in names if not any(n != other and n.startswith(f"{other}.") for other in names)]
    for name in names:
        module = twin.get_submodule(name)
        module.register_forward_hook(_pass_on)
    return twin, names


def reattached(model: nn.Module, images: Tensor) -> nn.Module | None:
    """A copy in which the images reach the first network without a gradient past everything before it.

    For a model that cuts the graph between its input and a module that takes images of the same shape: forward is
    unchanged, backward is the identity up to that module. None if there is no such module.
    """
    twin = _copied(model)
    names = [name for name in _taking_images(twin, images) if name]
    return _Reattached(twin, names[0]) if names else None


class Approximated(nn.Module):
    """Forward the model's answers, backward the gradient of an approximation of it."""

    def __init__(self, model: nn.Module, backward: nn.Module) -> None:
        super().__init__()
        self.model, self.backward_model, self.training = model, backward, model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        near: Tensor = self.backward_model(images)
        with torch.no_grad():
            out: Tensor = self.model(images.detach())
        return near + (out - near).detach()


class _Reattached(nn.Module):
    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self._images: Tensor | None = None
        model.get_submodule(name).register_forward_pre_hook(self._attach)

    def forward(self, images: Tensor) -> Tensor:
        self._images = images
        out: Tensor = self.model(images)
        return out

    def _attach(self, _: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, self._images = self._images, None
        return given if x is None or x.shape != given[0].shape else (given[0].detach() + (x - x.detach()),)


def _taking_images(model: nn.Module, images: Tensor) -> list[str]:
    """Names of modules that are called with one tensor of the images' shape, in the order of their calls."""
    names: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look(_: nn.Module, given: tuple[object, ...]) -> None:
            if len(given) == 1 and isinstance(given[0], Tensor) and given[0].shape == images[:2].shape:
                names.append(name)

        return look

    handles = [m.register_forward_pre_hook(watch(n)) for n, m in model.named_modules() if not isinstance(m, _KEEP)]
    try:
        ask(model, images[:2])
    finally:
        for handle in handles:
            handle.remove()
    return names


def fitted(target: nn.Module, start: nn.Module | None, batches: list[Batch], seed: int, steps: int = 200) -> nn.Module:
    """A differentiable network trained on the target's answers: a copy of ``start``, or a small convolutional one.

    Args:
        target: The model that answers.
        start: The undefended model, if there is one.
        batches: Images to query, shifted at random in every step.
        seed: Seed of weights, order and shifts.
        steps: Steps of Adam.
    """
    images = torch.cat([b.images for b in batches])
    generator = torch.Generator().manual_seed(seed)
    classes = ask(target, images[:2]).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _copied(start) if start is not None else _small(images.shape[1], classes).to(images.device)
    network.requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        index = torch.randint(0, len(images), (min(64, len(images)),), generator=generator)
        x = images[index]
        noise = torch.rand(x.shape, generator=generator).to(x) * 2 - 1
        reach = torch.rand((len(x), 1, 1, 1), generator=generator).to(x) * 0.2
        x = (x + reach * noise).clamp(0, 1)
        wanted = ask(target, x)
        wanted = wanted / wanted.std(1, keepdim=True).clamp(min=1e-12)
        with torch.enable_grad():
            said = network(x)
            loss = nn.functional.kl_div(said.log_softmax(1), (4 * wanted).softmax(1), reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def _keeping_shape(model: nn.Module, images: Tensor) -> list[str]:
    """Names of modules called once with one float tensor and an output of its shape; excludes the model itself."""
    seen: dict[str, int] = {}

    def watch(name: str) -> Callable[..., None]:
        def look(_: nn.Module, given: tuple[object, ...], out: object) -> None:
            alike = len(given) == 1 and isinstance(given[0], Tensor) and isinstance(out, Tensor)
            alike = alike and given[0].shape == out.shape and given[0].is_floating_point()  # type: ignore[attr-defined]
            seen[name] = seen.get(name, 0) + 1 if alike else 99

        return look

    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if n]
    try:
        ask(model, images[:2])
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, count in seen.items() if count == 1]


def _broken(model: nn.Module, name: str, images: Tensor) -> bool:
    """Whether the module has zero gradient at its input, or its output jumps there."""
    caught: list[Tensor] = []
    module = model.get_submodule(name)
    handle = module.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach().float()))
    try:
        ask(model, images[:4])
    finally:
        handle.remove()
    x = caught[0].clone().requires_grad_()
    with torch.enable_grad():
        out = module(x)
        (slope,) = torch.autograd.grad(out.sum(), x, allow_unused=True) if out.requires_grad else (None,)
    if slope is None or not bool(slope.isfinite().all()) or not bool((slope != 0).any()):
        return bool((out.detach() - out.detach().flatten()[0]).abs().max() > 0)
    return _jumps(module, x.detach())


def _jumps(module: nn.Module, x: Tensor) -> bool:
    near, far = (
        x,
        x + 0.05 * x.abs().mean() * torch.sign(torch.sin(torch.arange(x.numel(), device=x.device) * 7.3)).view_as(x),
    )
    with torch.no_grad():
        one, other = module(near), module(far)
        first = float((one - other).abs().max())
        for _ in range(12):
            middle = (near + far) / 2
            out = module(middle)
            if float((one - out).abs().max()) >= float((out - other).abs().max()):
                far, other = middle, out
            else:
                near, one = middle, out
    return float((one - other).abs().max()) > _NEAR * first > 0


def _copied(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).requires_grad_(False)


def _pass_on(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    x = given[0]
    return x + (out - x).detach()


def _small(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.GELU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GELU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, classes),
    )  # fmt: skip


def fidelity(target: nn.Module, model: nn.Module, images: Tensor) -> float:
    """Share of images on which two models predict the same class."""
    return float((ask(target, images).argmax(1) == ask(model, images).argmax(1)).float().mean())
