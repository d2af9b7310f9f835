"""Move the defender's key: the source of a threat that does not claim to know it must not move."""

import pytest
import torch

from bench.core.errors import KnowledgeError
from bench.core.key import Key
from bench.core.plugins import Knowledge
from bench.core.registry import registry
from bench.engine.means import Means
from bench.engine.resolve import Request, resolve
from bench.engine.world import DeclaredView, World
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunStore

SHORT = {f"profile.{r}.steps": 3 for r in ("base.recipe", "recipes.full", "recipes.lora", "recipes.partial")}
THREATS = registry("threats").names()
KEYED = [d for d in registry("defenses").names() if registry("defenses").load(d).keyed]


def world(tmp_path, threat: str, defense: str, key: str) -> World:
    ring = Keyring(tmp_path / "keys")
    if key not in ring.names():
        ring.new(key)
    spec, secret = resolve(Request(defense, threat, key=key, settings=SHORT), ring)
    return World(spec, secret, Means(RunStore(tmp_path / "results"), Home(tmp_path)))


@pytest.mark.parametrize("defense", KEYED)
@pytest.mark.parametrize("name", THREATS)
def test_only_a_threat_that_knows_the_key_moves_with_it(tmp_path, name, defense):
    threat = registry("threats").make(name)
    worlds = [world(tmp_path, name, defense, key) for key in ("first", "second")]
    sources = [threat.source(DeclaredView(w, threat)) for w in worlds]
    images = worlds[0].test_split.read(range(8)).images
    with torch.no_grad():
        logits = [s.model(images) for s in sources]
    assert worlds[0].target.digest != worlds[1].target.digest
    if Knowledge.TARGET in threat.knows:
        assert sources[0].digest != sources[1].digest
        assert not torch.equal(*logits)
    else:
        assert sources[0].digest == sources[1].digest
        assert torch.equal(*logits)


@pytest.mark.parametrize("name", THREATS)
def test_a_source_is_frozen_and_answers_in_logits(tmp_path, name):
    threat = registry("threats").make(name)
    w = world(tmp_path, name, "key-lora", "first")
    source = threat.source(DeclaredView(w, threat))
    assert not any(p.requires_grad for p in source.model.parameters())
    assert not source.model.training
    assert source.model(w.test_split.read(range(3)).images).shape == (3, 10)


@pytest.mark.usefixtures("outsiders")
def test_a_threat_gets_nothing_that_it_did_not_declare(tmp_path):
    threat = registry("threats").make("overreaching")
    w = world(tmp_path, "overreaching", "key-full", "first")
    with pytest.raises(KnowledgeError, match="reached for the deployed model's weights and key"):
        threat.source(DeclaredView(w, threat))


def test_the_same_recipe_makes_the_same_weights_and_another_seed_others(tmp_path):
    ring = Keyring(tmp_path / "keys")
    digests = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        spec, _ = resolve(Request("key-lora", "white-box", seed=seed, settings=SHORT), ring)
        w = World(spec, Key.from_seed(0, "defender"), Means(RunStore(tmp_path), Home(tmp_path / folder)))
        digests.append(w.target.digest)
    assert digests[0] == digests[1] != digests[2]


def test_lora_is_kept_in_pefts_format_and_trains_what_the_paper_says(tmp_path):
    from safetensors.torch import load_file

    w = world(tmp_path, "white-box", "key-lora", "first")
    assert w.target.digest
    folder = next(p.parent for p in (tmp_path / "cache").rglob("adapter_config.json"))
    names = load_file(folder / "adapter_model.safetensors").keys()
    layers = {n.split("base_model.model.")[1].rsplit(".lora_", 1)[0] for n in names if "lora_" in n}
    assert layers == {"patch_embed.proj", *(f"blocks.{i}.attn.qkv" for i in range(3))}
    assert {n.split("base_model.model.")[1] for n in names if "lora_" not in n} == {"head.weight", "head.bias"}
