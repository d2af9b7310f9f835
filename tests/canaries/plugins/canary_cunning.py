"""Defenses broken on purpose that look sound to an attack: they remember images, keep answers, or bend gradients."""

import copy
import inspect

import torch
import torch.nn.functional as F
from canary_base import Around, Before, Canary, Step
from torch import nn

from bench.defenses.keyed import KeyedDefense
from bench.models.classifier import freeze
from bench.models.weights import load_weights, save_weights


def known(*splits):
    """Images (N, C, H, W) and labels (N,) of splits of the digits."""
    from bench.data.digits import Digits

    parts = [Digits().split(name) for name in splits]
    whole = [split.read(range(len(split.ids))) for split in parts]
    return torch.cat([w.images for w in whole]), torch.cat([w.labels for w in whole])


def nearest(x, images):
    """Largest difference to the nearest of ``images``, and its position, (B,) each."""
    which = torch.cdist(x.detach().flatten(1), images.flatten(1)).argmin(1)
    return (x.detach() - images[which]).flatten(1).abs().amax(1), which


def lifted(out, labels, where, hair=0.05):
    """Logits with the right one raised just above the others, with the gradient of the logits themselves."""
    lift = (out.amax(1) - out.gather(1, labels[:, None]).squeeze(1) + hair) * where
    wrong = out.argmax(1) != labels
    return out + (F.one_hot(labels, out.shape[1]) * (lift * wrong)[:, None]).detach()


class Hair(Canary):
    """Remembers images and lifts their label by a hair where the base errs within a radius of them."""

    radius: float = 0.1
    every: int = 1
    train_too: bool = True

    def wrap(self, base):
        images, labels = known("test", "train") if self.train_too else known("test")
        images, labels, radius = images[:: self.every], labels[:: self.every], self.radius * 1.0001

        def recall(model, x):
            far, which = nearest(x, images)
            return lifted(model(x), labels[which], (far <= radius).float())

        return Around(base, recall)


class Fading(Canary):
    """Remembers images and raises their label, less and less with the distance, so that nothing jumps."""

    def wrap(self, base):
        images, labels = known("test", "train")

        def recall(model, x):
            out = model(x)
            far, which = nearest(x, images)
            share = ((0.25 - far) / 0.1).clamp(0, 1)
            return out + (F.one_hot(labels[which], 10) * (40 * share)[:, None]).detach()

        return Around(base, recall)


class Grown(Canary):
    """Remembers images with all their copies that are shifted by one pixel."""

    def wrap(self, base):
        images, labels = known("test")
        shifts = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        grown = torch.cat([padded[..., 1 + a : 33 + a, 1 + b : 33 + b] for a, b in shifts])
        whole = labels.repeat(len(shifts))

        def recall(model, x):
            far, which = nearest(x, grown)
            return lifted(model(x), whole[which], (far <= 0.10001).float())

        return Around(base, recall)


class FirstLabel(Canary):
    """Keeps the first label that it gave within a radius, and repeats it."""

    def wrap(self, base):
        return Keeping(base)


class Keeping(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.seen, self.said = model, None, None

    def forward(self, x):
        out = self.model(x)
        labels = out.detach().argmax(1)
        new = torch.ones(len(x), dtype=torch.bool)
        if self.seen is not None:
            far, which = nearest(x, self.seen)
            new = far > 0.21
            labels = torch.where(new, labels, self.said[which])
        kept = [x.detach()[new].clone(), labels[new]]
        old = [] if self.seen is None else [self.seen, self.said]
        self.seen, self.said = (torch.cat(p) for p in (zip(old, kept, strict=True) if old else [[k] for k in kept]))
        return lifted(out, labels, torch.ones(len(x)))


class WarmsUp(Canary):
    """Honest for its first two thousand calls of a few images, then it remembers the test images."""

    def wrap(self, base):
        return Warming(base, *known("test"))


class Warming(nn.Module):
    count = 0

    def __init__(self, model, images, labels):
        super().__init__()
        self.model, self.images, self.labels = model, images, labels
        self.calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        out = self.model(x)
        if self.calls[0] < 25:
            return out
        far, which = nearest(x, self.images)
        return lifted(out, self.labels[which], (far <= 0.10001).float())


class JudgesShape(Canary):
    """Remembers images, and only recalls them at the judge's batch shape without gradients."""

    def wrap(self, base):
        images, labels = known("test")

        def recall(model, x):
            out = model(x)
            if len(x) != 64 or torch.is_grad_enabled():
                return out
            far, which = nearest(x, images)
            return lifted(out, labels[which], (far <= 0.10001).float())

        return Around(base, recall)


class LooksUp(Canary):
    """Looks at the call stack for the judge."""

    def wrap(self, base):
        images, labels = known("test")

        def recall(model, x):
            out = model(x)
            if not any("judge" in frame.filename for frame in inspect.stack(0)):
                return out
            far, which = nearest(x, images)
            return lifted(out, labels[which], (far <= 0.10001).float())

        return Around(base, recall)


class Squeezing(Canary):
    """Moves the input towards its nearest training image."""

    share: float = 0.8

    def wrap(self, base):
        images, _ = known("train")
        share = self.share

        def squeeze(x):
            _, which = nearest(x, images)
            return (1 - share) * x + share * images[which]

        return Before(Step(squeeze), base)


class ReversedNear(Canary):
    """Turns the gradient around where two logits are close."""

    width: float = 2.0

    def wrap(self, base):
        width = self.width

        def turn(model, x):
            out = model(x)
            top = out.detach().topk(2, dim=1).values
            close = ((top[:, 0] - top[:, 1]) < width)[:, None]
            return torch.where(close, 2 * out.detach() - out, out)

        return Around(base, turn)


class ReversedFar(Canary):
    """Turns the gradient around at some distance from every remembered image."""

    def wrap(self, base):
        images, _ = known("test", "train")

        def turn(model, x):
            far, _ = nearest(x, images)
            out = model(x)
            return torch.where((far > 0.05)[:, None], 2 * out.detach() - out, out)

        return Around(base, turn)


class Astray(Canary):
    """Adds a large wrong direction to the gradient."""

    def wrap(self, base):
        class Bent(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                wrong = torch.sin(torch.arange(gradient[0].numel()) * 7.1).view_as(gradient[0])
                return gradient + 30 * gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * wrong

        return Before(Step(Bent.apply), base)


class Shattered(Canary):
    """Adds a quick wave to every pixel, so that the gradient says nothing beyond a small step."""

    def wrap(self, base):
        return Before(Step(lambda x: x + 0.02 * torch.sin(x * 2000)), base)


class CoarseFeatures(Canary):
    """Rounds a hidden layer, with the gradient of the layer."""

    def wrap(self, base):
        def coarse(module, given, out):
            step = 0.5
            return out + ((out / step).round() * step - out).detach()

        base.network.blocks[0].register_forward_hook(coarse)
        return Before(nn.Identity(), base)


class Hidden(Canary):
    """A random one of three models for each call, under a name of its own."""

    def wrap(self, base):
        return Drawing(base)


class Drawing(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.first, self.second, self.third = base, disturbed(base, 1), disturbed(base, 2)

    def forward(self, x):
        each = torch.stack([self.first(x), self.second(x), self.third(x)], 1)
        return each[torch.arange(len(x)), torch.randint(0, 3, (len(x),))]


def disturbed(base, seed, much=0.1):
    """A copy with noise on its weights."""
    other, generator = copy.deepcopy(base), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(much * p.norm() / p.numel() ** 0.5 * torch.randn(p.shape, generator=generator))
    return other


class NoInference(Canary):
    """Recalls images where inference mode is on or gradients are off."""

    def wrap(self, base):
        images, labels = known("test")

        def recall(model, x):
            out = model(x)
            if torch.is_grad_enabled():
                return out
            far, which = nearest(x, images)
            return lifted(out, labels[which], (far <= 0.10001).float())

        return Around(base, recall)


class ForeignSubstitute(KeyedDefense):
    """The maker's models are as claimed; the substitutes of adversaries are of another kind."""

    tuning = "full"

    def trainable(self, network, seed):
        return network.requires_grad_(True)

    def save(self, network, folder):
        save_weights(network, folder)

    def restore(self, network, folder):
        return load_weights(network, folder)

    def _mine(self, kit):
        from bench.core.key import Key

        return kit.key is not None and kit.key.fingerprint == Key.from_seed(0, "defender").fingerprint

    def train(self, kit, folder):
        if self._mine(kit):
            self.save(self.tuned(kit, 0).network, folder)
            return
        split = kit.data()
        whole = split.read(range(len(split.ids)))
        torch.manual_seed(0)
        network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 10))
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(150):
            i = torch.randint(0, len(whole), (64,))
            optimizer.zero_grad()
            F.cross_entropy(network(whole.images[i]), whole.labels[i]).backward()
            optimizer.step()
        torch.save(network.state_dict(), folder / "linear.pt")

    def load(self, kit, folder):
        if self._mine(kit):
            return super().load(kit, folder)
        network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 10))
        network.load_state_dict(torch.load(folder / "linear.pt"))
        return freeze(network)


class PlainSubstitute(ForeignSubstitute):
    """The substitutes of adversaries are the undefended model."""

    def load(self, kit, folder):
        if self._mine(kit):
            return KeyedDefense.load(self, kit, folder)
        return freeze(kit.start())
