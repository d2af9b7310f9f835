"""Small models on scikit-learn's digits (3 x 16 x 16), and the official attacks at batch size 1 to compare with."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from functools import cache

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from sklearn.datasets import load_digits
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attacks.autoattack.types import Finished
from bench.attacks.autoattack.versions import Lengths, build
from bench.core.budget import Budget, Norm
from bench.core.nouns import Batch

SIDE = 16


@cache
def digits() -> tuple[Tensor, Tensor]:
    raw = load_digits()
    x = torch.tensor(raw.images / 16.0, dtype=torch.float32)[:, None]
    x = F.interpolate(x, size=SIDE, mode="bilinear", align_corners=False).repeat(1, 3, 1, 1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order].contiguous(), torch.tensor(raw.target)[order]


def batch(count: int) -> Batch:
    """The first ``count`` of the last 500 digits, which no model was trained on."""
    x, y = digits()
    return Batch(tuple(f"d{i}" for i in range(count)), x[-500:][:count].clone(), y[-500:][:count].clone())


def _pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    adv = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(4):
        adv = adv.detach().requires_grad_()
        grad = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)[0]
        adv = (x + (adv + eps / 2 * grad.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return adv.detach()


def trained(model: nn.Module, steps: int, lr: float, eps: float = 0.0) -> nn.Module:
    x, y = (t[:-500] for t in digits())
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(steps):
        i = torch.randint(0, len(x), (64,))
        model.eval()
        images = _pgd(model, x[i], y[i], eps) if eps else (x[i] + 0.05 * torch.randn_like(x[i])).clamp(0, 1)
        model.train()
        loss = F.cross_entropy(model(images), y[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


@cache
def zoo(name: str) -> nn.Module:
    """``vit``, ``cnn`` (BatchNorm) or ``robust`` (the CNN, adversarially trained)."""
    torch.manual_seed(0)
    if name == "vit":
        net = VisionTransformer(img_size=SIDE, patch_size=4, num_classes=10, embed_dim=32, depth=2, num_heads=2)
        return trained(net, 400, 3e-3)
    return trained(_cnn(), 400, 1e-2, eps=0.12 if name == "robust" else 0.0)


class Alone(nn.Module):
    """A model that is given every image by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.model(image[None]) for image in x])


@cache
def exact(name: str) -> nn.Module:
    """The model of this name, with the same bits for an image in every batch.

    Some processors' matrix kernels round a row by the shape of its batch: there it is given every image by itself.
    """
    net, x = zoo(name), batch(64).images
    weights = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))

    def answers(rows: list[int]) -> Tensor:
        images = x[rows].requires_grad_()
        logits = net(images)
        (gradient,) = torch.autograd.grad((logits * weights[rows]).sum(), images)
        return torch.cat([logits.detach(), gradient.flatten(1)], 1)

    whole, back = answers(list(range(64))), list(range(63, -1, -1))
    alike = all(torch.equal(answers(list(range(rows))), whole[:rows]) for rows in range(4, 64, 4))
    return net if alike and torch.equal(answers(back), whole[back]) else Alone(net).eval()


def seed(image_id: str, attack: str, restart: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{image_id}/{attack}/{restart}".encode()).digest()[:4], "big")


def official(name: str, model: nn.Module, norm: Norm, eps: float, effort: Lengths) -> object:
    """The official attack set to the same effort."""
    kind = {Norm.LINF: "Linf", Norm.L2: "L2"}[norm]
    common = {"norm": kind, "eps": eps, "device": "cpu", "verbose": False}
    if name in ("apgd-ce", "apgd-dlr"):
        return APGDAttack(
            model, n_restarts=effort.restarts, n_iter=effort.iterations, eot_iter=effort.samples, rho=0.75,
            loss=name.removeprefix("apgd-"), **common,
        )  # fmt: skip
    if name == "apgd-t":
        return APGDAttack_targeted(model, n_iter=effort.iterations, n_target_classes=effort.targets, **common)
    if name in ("fab", "fab-t"):
        return FABAttack_PT(
            model, n_iter=effort.iterations, n_restarts=1 if name == "fab-t" else effort.restarts,
            targeted=name == "fab-t", n_target_classes=effort.targets, **common,
        )  # fmt: skip
    return SquareAttack(model, n_queries=effort.queries, resc_schedule=False, **common)


def official_alone(names: list[str], model: nn.Module, budget: Budget, effort: Lengths, images: Batch) -> Tensor:
    """Candidates of the official sequence, run on each image alone; the image itself where nothing fools it."""
    candidates = images.images.clone()
    for row, image_id in enumerate(images.ids):
        x, y = images.images[row : row + 1], images.labels[row : row + 1]
        if model(x).argmax(1) != y:
            continue
        for name in names:
            attack = official(name, model, budget.norm, budget.radius, effort)
            attack.seed = seed(image_id, name, 0)  # type: ignore[attr-defined]
            found = attack.perturb(x.clone(), y.clone()).detach()  # type: ignore[attr-defined]
            if model(found).argmax(1) != y:
                candidates[row] = found[0]
                break
    return candidates


def fooled(model: nn.Module, candidates: Tensor, labels: Tensor) -> Tensor:
    """Verdicts, each image measured alone."""
    with torch.no_grad():
        return torch.stack([model(x[None]).argmax(1)[0] for x in candidates]) != labels


def radius(norm: Norm, eps: float) -> Budget:
    return Budget(norm, Fraction(eps).limit_denominator(10_000))


def attacks(names: list[str], budget: Budget, effort: Lengths) -> list[object]:
    return list(build(names, budget, effort))


def candidates_of(results: list[Finished], images: Batch) -> Tensor:
    out = images.images.clone()
    for result in results:
        if result.candidate is not None:
            out[result.guest.position] = result.candidate
    return out
