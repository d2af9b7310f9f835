"""Members of a model that draws one of them, on models for which every share is known by hand."""

import pytest
import torch
from torch import nn

from bench.core.nouns import Batch
from bench.defenses.key_partial import RandomMember
from bench.engine.members import members_of, shares
from bench.models.ensemble import Ensemble

SHAPE = (1, 8, 8)


class Below(nn.Module):
    """Class 0 where the mean is below a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images):
        m = images.flatten(1).mean(1)
        return torch.stack([self.threshold - m, m - self.threshold], 1)


class Hidden(nn.Module):
    """Draws one of its models by chance, under names that tell nothing."""

    def __init__(self, *models: nn.Module) -> None:
        super().__init__()
        self.a = nn.ModuleDict({f"x{i}": model for i, model in enumerate(models)})

    def forward(self, images):
        logits = torch.stack([model(images) for model in self.a.values()], 1)
        return logits[torch.arange(len(images)), torch.randint(len(self.a), (len(images),))]


def thresholds() -> list[nn.Module]:
    return [Below(0.5), Below(0.6), Below(0.7)]


def batch_of(*means: float) -> Batch:
    x = torch.stack([torch.full(SHAPE, m) for m in means])
    return Batch(tuple(f"i{k}" for k in range(len(means))), x, torch.zeros(len(means), dtype=torch.int64))


@pytest.mark.parametrize(
    "model",
    [
        RandomMember(thresholds(), 5),
        nn.Sequential(nn.Identity(), RandomMember(thresholds(), 5)),
        nn.Sequential(RandomMember(thresholds(), 5), nn.Flatten()),
        Hidden(*thresholds()),
    ],
    ids=["whole", "behind", "before", "hidden"],
)
def test_every_member_counts_exactly(model):
    members, batch = members_of(model.eval(), SHAPE, "cpu"), batch_of(0.3, 0.55, 0.65, 0.3, 0.3)
    assert len(members) == 3
    x_adv = batch.images + torch.tensor([0.1, 0.0, 0.0, 0.5, 0.1]).view(5, 1, 1, 1)
    found = shares(members, batch, x_adv, [True, True, True, True, False], rows=4)
    assert found == pytest.approx([1, 2 / 3, 1 / 3, 0, None])


@pytest.mark.parametrize(
    "model", [Below(0.5), Ensemble(thresholds()), RandomMember(thresholds()[:1], 0), nn.Sequential(*thresholds()[:1])]
)
def test_a_model_that_draws_nothing_has_no_members(model):
    assert members_of(model.eval(), SHAPE, "cpu") == []


def test_a_model_that_cannot_be_asked_for_noise_has_no_members():
    class Picky(nn.Module):
        def forward(self, images):
            raise ValueError("not this")

    assert members_of(Picky(), SHAPE, "cpu") == []
    assert members_of(lambda x: x.flatten(1), SHAPE, "cpu") == []


def test_the_judged_model_is_not_called():
    class Counting(RandomMember):
        calls = 0

        def forward(self, images):
            self.calls += 1
            return super().forward(images)

    model = Counting(thresholds(), 5)
    assert len(members_of(model, SHAPE, "cpu")) == 3
    assert model.calls == 0
