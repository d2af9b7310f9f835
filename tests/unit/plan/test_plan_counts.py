"""What a plan counts, held against real models and real attacks."""

from fractions import Fraction

import pytest
import torch

from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Passes
from bench.core.errors import InputError
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.engine.candidates import CountedSource
from bench.engine.flops import arithmetic
from bench.models.classifier import Classifier, backbone
from bench.plan.devices import devices
from bench.plan.measure import Architecture, clock, count


def vit(trains: bool = False) -> Architecture:
    profile = load_profile("digits")
    base = profile.base

    def build() -> torch.nn.Module:
        return Classifier(backbone(base, profile.classes, 0), base.mean, base.std)

    return Architecture("vit", f"vit {trains}", profile.image_shape, trains, 1, build)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_counting_without_storage_gives_what_a_real_model_does(precision):
    subject = vit()
    counted, model = count(subject, precision), subject.build().eval().requires_grad_(False)
    real = arithmetic(model, torch.zeros(1, *subject.shape))
    assert (counted.forward, counted.backward) == (real.forward, real.backward)
    assert counted.weights == sum(p.numel() for p in model.parameters())
    assert counted.trained == 0


def test_bytes_kept_are_those_of_real_tensors():
    subject = vit()
    model, held = subject.build().eval().requires_grad_(False), {}
    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        logits = model(torch.rand(8, *subject.shape, requires_grad=True))
    counted = count(subject, Precision.FP32)
    kept = sum(storage.nbytes() for storage in held.values())
    assert kept == pytest.approx(8 * counted.kept + counted.fixed, rel=0.03)
    assert logits.shape == (8, 10)


def test_training_is_counted_with_the_gradients_of_weights():
    counted, plain = count(vit(trains=True), Precision.FP32), count(vit(), Precision.FP32)
    assert counted.forward == plain.forward
    assert 1.7 < counted.backward / plain.backward < 2
    assert counted.trained == counted.weights
    assert counted.kept > plain.kept


def test_time_is_measured_on_this_device():
    subject = vit()
    clocked = clock(subject, Precision.FP32, count(subject, Precision.FP32), "cpu", 4)
    assert clocked.batch == 4
    assert 0 < clocked.forward < 1
    assert clocked.backward > 0
    assert clocked.peak is None


def test_every_device_has_figures():
    assert {"h200", "h100", "a100-80", "a100-40", "l40s", "rtx4090", "v100"} <= set(devices())
    for device in devices().values():
        assert device.peak(Precision.BF16) >= device.peak(Precision.TF32) >= device.peak(Precision.FP32) > 1e12
    assert not devices()["v100"].has(Precision.BF16)


class Fixed(torch.nn.Module):
    """Right by far for class 0, or wrong as soon as a pixel moves by more than a hair."""

    traceable = True

    def __init__(self, stands: bool) -> None:
        super().__init__()
        self.stands = stands
        self.weight = torch.nn.Parameter(torch.randn(10, 300, generator=torch.Generator().manual_seed(0)))

    def forward(self, images):
        flat = images.flatten(1)
        logits = flat @ self.weight.T * 1e-3
        lead = 50.0 if self.stands else 1.0 - 1e6 * (flat - 0.5).abs().amax(1)
        return torch.cat([logits[:, :1] + torch.as_tensor(lead).expand(len(flat))[:, None], logits[:, 1:]], 1)


@pytest.fixture(autouse=True)
def one_thread():
    """With several, parts of a batch are padded by windows that Square tries ahead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured(
    name: str, options: dict, *, stands: bool, norm: Norm = Norm.LINF, count: int = 64
) -> tuple[Calls, Passes]:
    """What the attack says and what it does, each image."""
    attack = registry("attacks").make(name, options)
    images = torch.full((count, 3, 10, 10), 0.5)
    batch = Batch(tuple(f"i{i}" for i in range(count)), images, torch.zeros(count, dtype=torch.int64))
    source = CountedSource(type("Trained", (), {"model": Fixed(stands)})())
    budget = Budget(norm, Fraction(1, 10))
    adversary = Adversary(source, budget, batch_size=count)
    with torch.random.fork_rng():
        attack.perturb(adversary, batch)
    meters = adversary.meters.values()
    forwards, backwards = (
        (sum(m.forwards for m in meters), sum(m.backwards for m in meters))
        if meters
        else (source.forwards, source.backwards)
    )
    assert forwards % count == backwards % count == 0
    return attack.calls(10, budget), Passes(forwards // count, backwards // count)


SMALL = {"iterations": 4, "queries": 6, "targets": 2}
OWN = [
    {**SMALL, "version": version, **mode}
    for version in ("standard", "plus", "rand")
    for mode in ({"mode": "first"}, {"mode": "budget", "keep": "last"}, {"mode": "budget", "keep": "best"})
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("options", OWN, ids=lambda o: f"{o['version']}-{o['mode']}-{o.get('keep', '')}")
def test_the_engine_costs_what_it_says(options, norm):
    calls, most = measured("autoattack", options, stands=True, norm=norm)
    assert most == calls.most
    calls, least = measured("autoattack", options, stands=False, norm=norm)
    assert 0 <= least.forwards - calls.least.forwards <= 1  # a claim is measured again where the search calls a copy
    assert least.backwards == calls.least.backwards


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", ["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"])
def test_every_part_of_the_engine_costs_what_it_says(part):
    options = {**SMALL, "version": "custom", "attacks": [part], "mode": "budget"}
    calls, most = measured("autoattack", options, stands=True)
    assert most == calls.most


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("part", ["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"])
def test_the_official_package_costs_what_is_said(part, norm):
    options = {"version": "custom", "attacks": [part]}
    calls, most = measured("autoattack-reference", options, stands=True, norm=norm, count=2)
    assert most == calls.most
    if not part.startswith("fab"):
        calls, least = measured("autoattack-reference", options, stands=False, norm=norm, count=2)
        assert least == calls.least + Passes(7)  # its checks, here of the whole batch


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("version", "norm"), [("standard", Norm.LINF), ("standard", Norm.L1), ("rand", Norm.L2)])
def test_the_official_versions_cost_what_is_said(version, norm):
    calls, most = measured("autoattack-reference", {"version": version}, stands=True, norm=norm, count=1)
    assert most == calls.most


@pytest.mark.parametrize("stands", [True, False])
def test_pgd_costs_the_same_whatever_happens(stands):
    calls, seen = measured("pgd", {"steps": 3, "restarts": 2}, stands=stands)
    assert calls.least == calls.most == seen == Passes(8, 8)


def test_few_classes_leave_attacks_out():
    budget = Budget(Norm.LINF, Fraction(1, 10))
    attack = registry("attacks").make("autoattack", {"version": "custom", "attacks": ["apgd-t"]})
    assert attack.calls(3, budget) == Calls(Passes(1), Passes(1))
    with pytest.raises(InputError, match="l1"):
        attack.calls(10, Budget(Norm.L1, Fraction(1)))
