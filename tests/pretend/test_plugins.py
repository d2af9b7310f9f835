"""Every registered threat, defense, transform and data set on the pretended device: trained there, read on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.nouns import Access
from bench.core.plugins import Kit, Storage, TrainingMeans
from bench.core.preprocessing import preset
from bench.core.profile import Recipe, load_profile
from bench.core.registry import registry
from bench.store.runs import RunStore
from bench.training.fit import fit
from tests.makers import MAKERS

# A seed of its own, so that whatever an adversary makes is made here.
SMALL = ("--seed", "7", "--set", "profile.base.arguments.embed_dim=32", "--set", "profile.base.arguments.depth=2",
         "--set", "profile.base.recipe.steps=40", "--set", "profile.judge_batch=8", "--limit", "4",
         "--eps", "0.03")  # fmt: skip
STEPS = {"full": 3, "lora": 3, "partial": 3, "adversarial": 2}
QUICK = {"leaked-weights": ("threat.passes=0", "threat.images=16"), "distillation": ("threat.query_budget=256",),
         "adaptive-ensemble": ("threat.members=2",)}  # fmt: skip
PGD, ASKING = ("pgd", "attack.steps=2"), ("attack.queries=12",)


def evaluated(cli: Any, where: str, *argv: str) -> Any:
    """What a run says of every image."""
    steps = [word for name, n in STEPS.items() for word in ("--set", f"profile.recipes.{name}.steps={n}")]
    done = cli("run", *argv, *SMALL, *steps, "--device", where, "--results", where, "--json")
    assert done.code in (0, 1), done.err  # 1: models that hardly learned are found unreliable
    record = json.loads(done.out)
    assert record["metrics"]["outcomes"]["error"] == 0, record["notes"]
    assert "could not be measured" not in json.dumps(record["audit"])
    rows = RunStore(Path(where)).run(record["run_id"]).read().rows
    return record["digests"]["target"], [
        (r.image_id, r.outcome, r.clean_prediction, r.adversarial_prediction) for r in rows
    ]


def both(cli: Any, device: str, forget: Any, *argv: str) -> None:
    forget()
    there = evaluated(cli, device, *argv)
    forget()
    assert evaluated(cli, "cpu", *argv) == there


@pytest.mark.parametrize("name", registry("threats").names())
def test_every_threat(cli, device, forget_images, name):
    gradients = registry("threats").load(name).access is Access.GRADIENTS
    attack = ("--attack", PGD[0], "--set", PGD[1]) if gradients else ("--set", *ASKING)
    quick = [word for option in QUICK.get(name, ()) for word in ("--set", option)]
    both(cli, device, forget_images, "--defense", "key-lora", "--threat", name, *attack, *quick)


@pytest.mark.parametrize("name", registry("defenses").names())
def test_every_defense(cli, device, forget_images, name):
    if name == "robustbench":
        pytest.skip("a model of ImageNet; see below")
    both(cli, device, forget_images, "--defense", name, "--threat", "white-box", "--attack", PGD[0], "--set", PGD[1])


@pytest.mark.parametrize("name", registry("transforms").names())
def test_every_transform(cli, device, forget_images, name):
    argv = ("--defense", "key-full", "--set", f"defense.transform={name}", "--threat", "white-box")
    both(cli, device, forget_images, *argv, "--attack", PGD[0], "--set", PGD[1])


def test_a_model_of_the_zoo(device, tmp_path):
    from torchvision.models import resnet18

    weights, folder = tmp_path / "Salman2020Do_R18.pt", tmp_path / "kept"
    folder.mkdir()
    torch.save(resnet18().state_dict(), weights)
    profile = load_profile("digits").model_copy(update={"classes": 1000, "image_shape": (3, 224, 224)})
    defense = registry("defenses").make("robustbench", {"model": weights.stem})
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = []
    for where in (device, "cpu"):
        kit = Kit(nn.Identity, tmp_path, True, None, lambda: None, profile, 0, TrainingMeans(device=where))
        if where == device:
            defense.train(kit, folder)
        with torch.no_grad():
            logits.append(defense.load(kit, folder)(x.to(where)).cpu())
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", registry("datasets").names())
def test_every_data_set(name, device, tmp_path):
    """A model that is trained on its images there is the one that is trained here."""
    dataset, root, shape, chosen = registry("datasets").make(name), None, (3, 32, 32), "none"
    if dataset.needs_root:
        maker, shape, chosen = MAKERS[name]
        root = maker(tmp_path)
    how = preset(chosen, side=shape[-1], crop_share=0.9, interpolation="bicubic")
    split = dataset.split("train", Storage(root, shape, how))
    moves = {"shift": 1.0, "rotate": 0.1, "flip": 0.5, "noise": 0.01}
    recipe = Recipe(steps=2, batch_size=4, learning_rate=0.01, augmentation=moves)
    logits = []
    for where in ("cpu", device):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, max(split.labels) + 1))
        net = net.to(where)
        fit(net, split, recipe, seed=1, means=TrainingMeans(device=where), title="train")
        images = split.read([0, 1]).to(where).images
        logits.append(net(images).detach().cpu())
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
