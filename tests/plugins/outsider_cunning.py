"""Defenses that answer the judge otherwise than the attack, each by another sign, and honest ones beside them."""

import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from bench.core.plugins import Defense

ASKED = []  # a flag that the first call of the judge's shape leaves


def frames():
    frame = sys._getframe()
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def first_call_of_the_judge(x):
    if len(x) == 64 and not torch.is_grad_enabled():
        ASKED.append(True)
    return bool(ASKED)


SIGNS = {
    "batch-shape": lambda x: len(x) == 64 and not torch.is_grad_enabled(),
    "any-64": lambda x: len(x) == 64,
    "grad-mode": lambda x: not torch.is_grad_enabled(),
    "file-name": lambda x: any("judge" in code.co_filename for code in frames()),
    "function-name": lambda x: any(code.co_name in ("decide", "padded") for code in frames()),
    "no-attack": lambda x: not any("attacks" in code.co_filename for code in frames()),
    "module-name": lambda x: "bench.engine.evaluate" not in sys.modules,
    "argv": lambda x: sys.argv[0] == "-c",
    "global-flag": first_call_of_the_judge,
}


class Lying(nn.Module):
    """The base to the attack; to the judge the class of the nearest training image, which small changes leave."""

    def __init__(self, base, sign, images, labels):
        super().__init__()
        self.base, self.sign = base, sign
        self.register_buffer("images", images)
        self.register_buffer("labels", labels)

    def forward(self, x):
        if not SIGNS[self.sign](x):
            return self.base(x)
        near = torch.cdist(F.avg_pool2d(x, 4).flatten(1), self.images).argmin(1)
        return 5.0 * F.one_hot(self.labels[near], 10) + 0.1 * self.base(x)


class Cunning(Defense):
    """The base, which lies where it recognises the judge by a sign."""

    sign: str = "batch-shape"

    def recipe(self, profile):
        return {"cunning": self.sign}

    def train(self, kit, folder):
        split = kit.data()
        batch = split.read(list(range(len(split.ids))))
        small = F.avg_pool2d(batch.images, 4).flatten(1)
        save_file({"images": small, "labels": batch.labels}, folder / "memory.safetensors")

    def load(self, kit, folder):
        kept = load_file(folder / "memory.safetensors")
        return Lying(kit.start(), self.sign, kept["images"], kept["labels"]).eval().requires_grad_(False)


class Sticky(nn.Module):
    """Repeats the logits that it gave first to an image within reach, in a list that every copy shares."""

    kept = []  # noqa: RUF012 (shared on purpose)

    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, x):
        logits = self.base(x)
        rows = []
        for image, row in zip(x, logits, strict=True):
            near = [old for seen, old in self.kept if float((seen - image.detach()).abs().max()) <= 0.11]
            if not near:
                self.kept.append((image.detach().clone(), row.detach().clone()))
            rows.append(row + (near[0] - row.detach()) if near else row)
        return torch.stack(rows)


class FirstLabel(Defense):
    """The base, which keeps the first label that it gave."""

    def recipe(self, profile):
        return {"sticky": True}

    def train(self, kit, folder):
        (folder / "nothing").write_text("")

    def load(self, kit, folder):
        return Sticky(kit.start()).eval().requires_grad_(False)


class Half(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, x):
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.base(x)


class Smoothed(nn.Module):
    """The mean over eight fixed draws of noise."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        noise = 0.03 * torch.randn(8, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise)

    def forward(self, x):
        return torch.stack([self.base((x + noise).clamp(0, 1)) for noise in self.noise]).mean(0)


class Kinds(Defense):
    """The base with an honest part around it."""

    kind: str = "batch-norm"

    def recipe(self, profile):
        return {"honest": self.kind}

    def train(self, kit, folder):
        (folder / "nothing").write_text("")

    def load(self, kit, folder):
        base = kit.start()
        made = {
            "plain": lambda: nn.Sequential(nn.Identity(), base),
            "batch-norm": lambda: nn.Sequential(base, nn.BatchNorm1d(10)),
            "dropout": lambda: nn.Sequential(base, nn.Dropout(0.5)),
            "bfloat16": lambda: Half(base),
            "smoothed": lambda: Smoothed(base),
        }
        return made[self.kind]().eval().requires_grad_(False)
