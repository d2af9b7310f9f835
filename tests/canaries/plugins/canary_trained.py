"""Small convolutional networks trained here: k-WTA, BatchNorm in train mode, and honest ones."""

import torch
import torch.nn.functional as F
from canary_base import Canary
from safetensors.torch import load_file, save_file
from torch import nn

from bench.models.classifier import freeze


class Small(Canary, adds=("network", "attack", "deploy")):
    """Trains a small network on the training images."""

    steps: int = 120

    def network(self):
        raise NotImplementedError

    def attack(self, model, x, y):
        return x

    def train(self, kit, folder):
        split = kit.data()
        whole = split.read(range(len(split.ids)))
        generator = torch.Generator().manual_seed(kit.seed % 2**31)
        with torch.random.fork_rng():
            torch.manual_seed(kit.seed % 2**31)
            model = self.network()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=self.steps)
        for _ in range(self.steps):
            i = torch.randint(0, len(whole), (64,), generator=generator)
            model.eval()
            x = self.attack(model, whole.images[i], whole.labels[i])
            model.train()
            loss = F.cross_entropy(model(x), whole.labels[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        save_file(model.state_dict(), folder / "model.safetensors")

    def load(self, kit, folder):
        model = self.network()
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return self.deploy(freeze(model))

    def deploy(self, model):
        return model


def layers(act, norm=True):
    bn = nn.BatchNorm2d if norm else lambda n: nn.Identity()
    return nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(3, 16, 3, stride=2, padding=1), bn(16), act(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), bn(32), act(),
        nn.Flatten(), nn.Linear(512, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip


class Convolutional(Small):
    """An honest small CNN with BatchNorm."""

    def network(self):
        return layers(nn.ReLU)


class Adversarial(Small):
    """An honest small CNN, adversarially trained (PGD, arXiv:1706.06083)."""

    steps: int = 250
    eps: float = 0.1

    def network(self):
        return layers(nn.ReLU)

    def attack(self, model, x, y):
        adv = (x + self.eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        for _ in range(3):
            adv = adv.detach().requires_grad_()
            slope = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)[0]
            adv = (x + (adv + self.eps / 2 * slope.sign() - x).clamp(-self.eps, self.eps)).clamp(0, 1)
        return adv.detach()


class TrainMode(Small):
    """BatchNorm left in train mode."""

    def network(self):
        return layers(nn.ReLU)

    def deploy(self, model):
        return model.train()


class BatchStatistics(Small):
    """BatchNorm that keeps no statistics, so that evaluation mode does not help."""

    def network(self):
        model = layers(nn.ReLU)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.track_running_stats, m.running_mean, m.running_var, m.num_batches_tracked = False, None, None, None
        return model


class KWinners(nn.Module):
    def __init__(self, share=0.2):
        super().__init__()
        self.share = share

    def forward(self, x):
        flat = x.flatten(1)
        least = flat.topk(max(1, int(self.share * flat.shape[1])), dim=1).values[:, -1:]
        return (flat * (flat >= least)).view_as(x)


class KWta(Small):
    """k-winners-take-all activations (arXiv:1905.10510)."""

    steps: int = 150

    def network(self):
        return layers(KWinners, norm=False)
