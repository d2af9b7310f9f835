import json
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from bench.core.errors import InputError, UnknownNameError
from bench.core.plugins import Kit, TrainingMeans
from bench.core.preprocessing import preprocessing_names
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.models.classifier import Classifier
from bench.models.convstem import ConvStem
from bench.models.zoo import zoo_model, zoo_network, zoo_preprocessing, zoo_weights
from bench.models.zoo_import import import_robustbench
from bench.models.zoo_lists import _listed, zoo_names

SINGH = "Singh2023Revisiting_ConvNeXt-T-ConvStem"
LIU = "Liu2023Comprehensive_Swin-L"
R18 = "Salman2020Do_R18"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise OSError("the network was tried")

    monkeypatch.setattr(socket, "socket", type("Refused", (socket.socket,), {"__init__": refuse}))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "BENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def randomised(network, seed=0):
    """Weights that are unlike any initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) * 0.02 + (1 if tensor.ndim == 1 else 0))
    return network.eval()


def images(side=64):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def parallel(network):
    return {"state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()}}


@pytest.mark.parametrize(("widths", "layers"), [((48, 96), 2), ((64, 96, 128), 3)])
def test_the_stem(widths, layers):
    stem = ConvStem(widths)
    assert stem(images(32)).shape == (2, widths[-1], 8, 8)
    places = [f"stem.{3 * i + j}.{kind}" for i in range(layers) for j in (0, 1) for kind in ("weight", "bias")]
    assert list(stem.state_dict()) == places
    assert sum(p.numel() for p in ConvStem((48, 96)).parameters()) == 48 * 28 + 96 * (48 * 9 + 1) + 2 * (48 + 96)


def test_the_stem_normalises_over_channels():
    norm = ConvStem((6, 8)).stem[1]
    x = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    mean, square = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(norm(x), (x - mean) / (square + 1e-6).sqrt())


def test_our_list():
    assert set(_listed()) >= {LIU, "Liu2023Comprehensive_ConvNeXt-L", "Singh2023Revisiting_ConvNeXt-L-ConvStem"}
    assert {entry.preprocessing for entry in _listed().values()} <= set(preprocessing_names())
    assert len({entry.gdrive for entry in _listed().values()}) == len(_listed())
    for name, entry in _listed().items():
        assert (entry.normalise is None) == (entry.stem is not None) == ("ConvStem" in name)
    assert {R18, SINGH} <= set(zoo_names())
    assert zoo_preprocessing(SINGH) == "BicubicRes256Crop224"
    assert zoo_preprocessing("Wong2020Fast") == "Crop288"


def test_a_name_of_our_list_does_not_import_robustbench():
    code = "import sys; from bench.models.zoo import zoo_preprocessing as p; p(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, LIU], capture_output=True, text=True, check=True)
    assert "robustbench" not in done.stdout.split()
    assert "timm" not in done.stdout.split()


def test_names_of_the_file_of_a_convstem():
    names = zoo_network(SINGH).network.state_dict()
    assert {"stem.stem.0.weight", "stem.stem.4.bias", "head.norm.weight", "head.fc.weight"} <= names.keys()
    assert not any(name.startswith("stem.0") for name in names)


def test_a_model_of_our_list_from_a_local_file(tmp_path):
    model = randomised(zoo_network(SINGH))
    path = tmp_path / "imagenet" / "Linf" / f"{SINGH}.pt"
    path.parent.mkdir(parents=True)
    torch.save(parallel(model.network), path)
    loaded, used = zoo_model(SINGH, weights=tmp_path, offline=True)
    assert used == path
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(images()), model.network(images()))  # in [0, 1] as they are


def saved_like_robustbench(network, path):
    """Under `module.model.`, with leftovers of training wrappers."""
    state = {f"module.model.{name}": tensor for name, tensor in network.state_dict().items()}
    residue = {"module.normalizer.new_mean": torch.ones(3, 1, 1), "module.attacker.model.fc.bias": torch.ones(1000)}
    torch.save({"state_dict": {**state, **residue}, "epoch": 1}, path)


@pytest.mark.parametrize("save", [saved_like_robustbench, lambda n, p: torch.save(n.state_dict(), p)])
def test_a_model_of_the_installed_zoo_from_a_local_file(save, tmp_path):
    from torchvision.models import resnet18

    network = randomised(resnet18())
    save(network, tmp_path / f"{R18}.pt")
    for weights in (tmp_path, tmp_path / f"{R18}.pt"):
        loaded, used = zoo_model(R18, weights=weights, offline=True)
        assert isinstance(loaded, Classifier)
        assert used == tmp_path / f"{R18}.pt"
    mean, std = (torch.tensor(m).view(1, 3, 1, 1) for m in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert torch.equal(loaded(images()), network((images() - mean) / std))


def test_robustbench_itself_gives_the_same_logits(tmp_path):
    import warnings

    from torchvision.models import resnet18

    network = randomised(resnet18())
    path = tmp_path / "imagenet" / "Linf" / f"{R18}.pt"
    path.parent.mkdir(parents=True)
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    ours, _ = zoo_model(R18, weights=tmp_path, offline=True)
    load_model = import_robustbench("robustbench.utils").load_model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = load_model(R18, model_dir=tmp_path, dataset="imagenet", threat_model="Linf")
    with torch.no_grad():
        assert torch.equal(ours(images()), theirs(images()))


def test_a_model_that_brings_its_own_weights_is_built_without_them(tmp_path):
    network = zoo_network("Standard_R50")  # torchvision's pretrained=True would try the network
    torch.save(network.network.state_dict(), tmp_path / "any.pt")
    _, used = zoo_model("Standard_R50", weights=tmp_path / "any.pt", offline=True)
    assert used == tmp_path / "any.pt"
    imagenet = import_robustbench("robustbench.model_zoo.imagenet")
    assert imagenet.pt_models.__name__ == "torchvision.models"


def test_without_weights(tmp_path):
    with pytest.raises(InputError, match=rf"no weights of {R18} at .*keybench.*/{R18}\.pt or .*Linf.*network is off"):
        zoo_model(R18, weights=None, offline=True)
    with pytest.raises(InputError, match=rf"no weights of {SINGH} at {tmp_path}/{SINGH}"):
        zoo_model(SINGH, weights=tmp_path, offline=True)
    with pytest.raises(InputError, match="do not exist"):
        zoo_model(SINGH, weights=tmp_path / "nowhere", offline=True)


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def page(id, output, quiet):
        with open(output, "w") as file:
            file.write("<!DOCTYPE html><html>Quota exceeded</html>")

    monkeypatch.setattr("gdown.download", page)
    with pytest.raises(
        InputError, match=r"cannot download .*1-FjtOF6.*is a web page, not weights.*--weights"
    ) as caught:
        zoo_model(SINGH, weights=tmp_path)
    assert "\n" not in str(caught.value)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    monkeypatch.undo()
    monkeypatch.setattr("gdown.download", lambda **options: (_ for _ in ()).throw(OSError("no route\nto host")))
    with pytest.raises(InputError, match="no route to host"):
        zoo_model(SINGH, weights=tmp_path)


def test_a_download_is_kept_in_robustbenchs_layout(tmp_path, monkeypatch):
    from torchvision.models import resnet18

    calls = []

    def download(id, output, quiet):
        calls.append(id)
        torch.save(resnet18().state_dict(), output)

    monkeypatch.setattr("gdown.download", download)
    for _ in range(2):
        _, used = zoo_model(R18, weights=tmp_path)
        assert used == tmp_path / "imagenet" / "Linf" / f"{R18}.pt"
    assert calls == ["1OThCOQCOxY6lAgxZxgiK3YuZDD7PPfPx"]
    assert zoo_weights(R18, weights=tmp_path) == used


def test_weights_of_another_model(tmp_path):
    from torchvision.models import resnet34

    torch.save(resnet34().state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=f"is not of the architecture {R18}: .* unexpected"):
        zoo_model(R18, weights=tmp_path / "w.pt", offline=True)


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=f"did you mean {LIU}"):
        zoo_model("Liu2023Comprehensive_SwinL", weights=None, offline=True)
    with pytest.raises(UnknownNameError, match="no ImageNet models for 'Linfty'; did you mean Linf"):
        zoo_names("Linfty")


def test_building_does_not_move_the_random_numbers():
    before = torch.get_rng_state()
    zoo_network(R18)
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def profile():
    return load_profile("digits").model_copy(update={"classes": 1000, "image_shape": (3, 224, 224)})


def defense(model):
    return registry("defenses").make("robustbench", {"model": model})


def kit(profile, weights):
    return Kit(nn.Identity, weights, True, None, lambda: None, profile, 0, TrainingMeans())


def test_the_defense_checks_the_profile(profile):
    defense(LIU).check(profile)
    assert defense(LIU).preprocessing() == "BicubicRes256Crop224"
    assert not defense(LIU).keyed
    with pytest.raises(UnknownNameError, match="unknown RobustBench model"):
        defense("Liu2023").check(profile)
    with pytest.raises(InputError, match="has 1000 classes"):
        defense(LIU).check(profile.model_copy(update={"classes": 10}))
    with pytest.raises(InputError, match=r"takes images of 3 x 288 x 288 \(Crop288\)"):
        defense("Wong2020Fast").check(profile)


def test_the_defense_takes_weights_over(profile, tmp_path):
    from torchvision.models import resnet18

    network, folder = randomised(resnet18()), tmp_path / "kept"
    folder.mkdir()
    torch.save(network.state_dict(), tmp_path / f"{R18}.pt")
    made = defense(R18)
    assert made.ready
    assert json.loads(json.dumps(made.recipe(profile))) == made.recipe(profile) != {}
    made.train(kit(profile, tmp_path), folder)
    loaded = made.load(kit(profile, None), folder)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training
    assert torch.equal(loaded.network.fc.weight, network.fc.weight)
    assert made.weights_file(tmp_path) == tmp_path / f"{R18}.pt"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_listed()))
def test_every_model_of_our_list_builds_and_loads(name, tmp_path):
    model = zoo_network(name)
    torch.save(parallel(model.network), tmp_path / f"{name}.pt")
    loaded, _ = zoo_model(name, weights=tmp_path, offline=True)
    with torch.no_grad():
        assert torch.equal(loaded(images(224)[:1]), model(images(224)[:1]))
