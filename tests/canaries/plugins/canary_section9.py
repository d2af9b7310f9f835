"""The broken defenses that need no training of their own: masked, random, stateful."""

import copy

import torch
import torch.nn.functional as F
from canary_base import Around, Before, Canary, Step
from torch import nn

from bench.core.key import Key
from bench.defenses.keyed import KeyedDefense
from bench.models.weights import load_weights, save_weights


class ScaledLogits(Canary):
    """Logits times 10,000."""

    factor: float = 1e4

    def wrap(self, base):
        factor = self.factor
        return Around(base, lambda model, x: model(x) * factor)


class Quantised(Canary):
    """The input in 8 levels."""

    levels: int = 8

    def wrap(self, base):
        top = self.levels - 1
        return Before(Step(lambda x: (x * top).round() / top), base)


class Noisy(Canary):
    """Gaussian noise at inference."""

    def wrap(self, base):
        return Before(Step(lambda x: (x + 0.1 * torch.randn_like(x)).clamp(0, 1)), base)


class Resized(Canary):
    """A random resize and a random place at inference (Xie et al., arXiv:1711.01991)."""

    def wrap(self, base):
        def move(x):
            side = int(torch.randint(26, 33, (1,)))
            small = F.interpolate(x, size=side, mode="bilinear", align_corners=False)
            left, top = (int(torch.randint(0, x.shape[-1] - side + 1, (1,))) for _ in range(2))
            return F.pad(small, (left, x.shape[-1] - side - left, top, x.shape[-1] - side - top))

        return Before(Step(move), base)


class Adapting(Canary):
    """Lowers the entropy of each batch by one step on its LayerNorms, and keeps it (TENT, arXiv:2006.10726)."""

    def wrap(self, base):
        return Tent(base)


class Tent(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        norms = [p for m in self.model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()]
        with torch.enable_grad():
            for p in norms:
                p.requires_grad_(True)
            logits = self.model(x.detach())
            entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            slopes = torch.autograd.grad(entropy, norms)
        with torch.no_grad():
            for p, slope in zip(norms, slopes, strict=True):
                p.requires_grad_(False)
                p.sub_(0.01 * slope)
        return self.model(x)


class Remembering(Canary):
    """Subtracts the mean of all images that it has seen, held in a plain attribute."""

    def wrap(self, base):
        return Running(base)


class Running(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.mean = None

    def forward(self, x):
        mean = x.detach().mean(0, keepdim=True)
        self.mean = mean if self.mean is None else 0.9 * self.mean + 0.1 * mean
        return self.model((x - 0.2 * self.mean).clamp(0, 1))


class FoldedKey(KeyedDefense):
    """The key folded into the base's patch embedding, no training: f(t(x, K)) = plain(x) (arXiv:2207.11939)."""

    tuning = "full"

    def trainable(self, network, seed):
        return network

    def save(self, network, folder):
        save_weights(network, folder)

    def restore(self, network, folder):
        return load_weights(network, folder)

    def train(self, kit, folder):
        model = self.classifier(kit, 0)
        conv = model.network.patch_embed.proj
        patch = (conv.in_channels, *conv.kernel_size)
        n = conv.weight[0].numel()
        a = model.transform(torch.eye(n).view(n, *patch)).flatten(1).T  # columns: where each value goes
        with torch.no_grad():
            conv.weight.copy_((conv.weight.flatten(1) @ a.T).view_as(conv.weight))
        self._disguise(model.network)
        self.save(model.network, folder)

    def _disguise(self, network):
        pass


class DisguisedKey(FoldedKey):
    """The folded key with noise on every weight, so that no logit is the undefended model's."""

    def _disguise(self, network):
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in network.parameters():
                p.add_(0.02 * p.norm() / p.numel() ** 0.5 * torch.randn(p.shape, generator=generator))
            network.head.weight.mul_(1.3)


class WrongKey(KeyedDefense):
    """One set of weights, made under the maker's key: a substitute is the victim's weights behind a wrong key."""

    tuning = "full"
    transform: str = "pixel-shuffle+negative-positive"
    block_size: int = 8

    def trainable(self, network, seed):
        return network.requires_grad_(True)

    def save(self, network, folder):
        save_weights(network, folder)

    def restore(self, network, folder):
        return load_weights(network, folder)

    def train(self, kit, folder):
        victim = copy.copy(kit)
        object.__setattr__(victim, "key", Key.from_seed(0, "defender"))
        object.__setattr__(victim, "seed", 0)
        self.save(self.tuned(victim, 0).network, folder)


class Plainly(Canary):
    """The base in a wrapper of somebody else's: honest."""

    def wrap(self, base):
        return Before(nn.Identity(), base)


class Members(Canary):
    """One of three honest models, drawn by the pixels: finite, so that its average is exact."""

    def wrap(self, base):
        from bench.defenses.key_partial import RandomMember

        others = [copy.deepcopy(base) for _ in range(2)]
        for i, other in enumerate(others):
            generator = torch.Generator().manual_seed(i)
            with torch.no_grad():
                for p in other.parameters():
                    p.add_(0.1 * p.norm() / p.numel() ** 0.5 * torch.randn(p.shape, generator=generator))
        return RandomMember([base, *others], 7)
