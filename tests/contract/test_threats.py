"""Move the defender's key: the source of a threat that does not claim to know it must not move."""

import shutil

import pytest
import torch

from bench.core.errors import KnowledgeError
from bench.core.key import Key
from bench.core.nouns import Access
from bench.core.plugins import Knowledge
from bench.core.registry import registry
from bench.core.tiers import TIERS
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.view import DeclaredView
from bench.engine.world import World
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunStore

SHORT = {f"profile.{r}.steps": 3 for r in ("base.recipe", "recipes.full", "recipes.lora", "recipes.partial")}
QUICK = {"leaked-weights": {"threat.passes": 0}, "distillation": {"threat.query_budget": 256}}
# What a threat may hold that moves with the defender's key, though it is not the key.
MOVING = {Knowledge.TARGET, Knowledge.QUERIES, Knowledge.WEIGHTS}
THREATS = registry("threats").names()
KEYED = [d for d in registry("defenses").names() if registry("defenses").load(d).keyed]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """A home for each key: what is trained in one cannot be read back in the other."""
    folder = tmp_path_factory.mktemp("homes")
    return lambda key: folder / key


def means(home) -> Means:
    return Means(RunStore(home / "results"), Home(home))


def world(home, threat: str, defense: str, key: str) -> World:
    ring = Keyring(home / "keys")
    if key not in ring.names():
        ring.new(key)
    job = resolve(Request(defense, threat, key=key, settings={**SHORT, **QUICK.get(threat, {})}), ring)
    return World(Making(job.spec, means(home)), job.key)


def make(name: str):
    options = {k.removeprefix("threat."): v for k, v in QUICK.get(name, {}).items()}
    return registry("threats").make(name, options)


@pytest.mark.parametrize("defense", KEYED)
@pytest.mark.parametrize("name", THREATS)
def test_only_a_threat_that_knows_the_key_moves_with_it(homes, name, defense):
    threat = make(name)
    worlds = [world(homes(key), name, defense, key) for key in ("first", "second")]
    sources = [threat.source(DeclaredView(w, threat)) for w in worlds]
    images = worlds[0].test_split.read(range(8)).images
    with torch.no_grad():
        logits = [s.model(images) for s in sources]
    assert worlds[0].target.digest != worlds[1].target.digest
    if MOVING & threat.knows:
        assert sources[0].digest != sources[1].digest
        if threat.access is not Access.LABELS:  # after three steps all labels may be one
            assert not torch.equal(*logits)
    else:
        assert sources[0].digest == sources[1].digest
        assert torch.equal(*logits)


@pytest.mark.parametrize("name", THREATS)
def test_a_source_is_frozen_and_answers_in_logits(homes, name):
    threat = make(name)
    w = world(homes("first"), name, "key-lora", "first")
    source = threat.source(DeclaredView(w, threat))
    images = w.test_split.read(range(3)).images
    assert source.model(images).shape == (3, 10)
    if threat.access is not Access.GRADIENTS:
        assert not isinstance(source.model, torch.nn.Module)  # nothing to look into
        assert not source.model(images.requires_grad_()).requires_grad
        return
    assert not any(p.requires_grad for p in source.model.parameters())
    assert not source.model.training


@pytest.mark.usefixtures("outsiders")
def test_a_threat_gets_nothing_that_it_did_not_declare(tmp_path):
    threat = registry("threats").make("overreaching")
    w = world(tmp_path, "overreaching", "key-full", "first")
    with pytest.raises(KnowledgeError, match="accessed the deployed model's weights and key"):
        threat.source(DeclaredView(w, threat))


@pytest.mark.parametrize("name", THREATS)
def test_a_threat_says_its_tier_what_it_knows_and_what_it_costs(name):
    threat = registry("threats").load(name)
    assert threat.tier in TIERS
    assert threat.knows
    assert threat.cost
    asks = Knowledge.QUERIES in threat.knows
    assert asks == bool({"queries", "query_budget"} & set(threat.model_fields))


@pytest.mark.parametrize("how", ["bypass", "key-search"])
@pytest.mark.parametrize("defense", ["key-full", "key-lora"])
def test_leaked_weights_are_attacked_without_the_key(tmp_path, defense, how):
    """After deployment the key's file is another key's, then gone: nothing moves."""
    threat = registry("threats").make("leaked-weights", {"how": how, "passes": 0})
    deployed = world(tmp_path, "leaked-weights", defense, "first")
    assert deployed.target.digest
    images = deployed.test_split.read(range(8)).images
    ring, spec = Keyring(tmp_path / "keys"), deployed.spec
    path = tmp_path / "keys" / "first.key"
    seen = []
    for change in ("as it was", "another", "gone"):
        if change == "another":
            path.write_text(ring.new("other").reveal() + "\n")
        if change == "gone":
            path.unlink()
        shutil.rmtree(tmp_path / "cache" / "models" / seen[-1][2]) if seen else None  # made anew each time
        source = threat.source(DeclaredView(World(Making(spec, means(tmp_path))), threat))  # no key is at hand at all
        with torch.no_grad():
            seen.append((source.digest, source.model(images), source.folder.name))
    assert len({digest for digest, _, _ in seen}) == 1
    assert all(torch.equal(seen[0][1], logits) for _, logits, _ in seen)


def test_a_key_free_substitute_needs_no_transform(homes):
    w = world(homes("first"), "adaptive-key-free", "key-full", "first")
    made = [w.key_free(0), w.key_free(0, permuted=True), w.key_free(1), w.substitute(0)]
    assert all(isinstance(m.model.transform, torch.nn.Identity) for m in made[:3])
    assert len({m.digest for m in made}) == 4


def test_devices_are_numbered_and_number_0_holds_the_named_key(tmp_path):
    ring = Keyring(tmp_path / "keys")
    digests = {}
    for judged in (0, 1):
        job = resolve(Request("key-full", "cross-key", judge_device=judged, settings=SHORT), ring)
        w = World(Making(job.spec, means(tmp_path)), job.key)
        digests[judged] = [w.target.digest, *(w.sibling(i).digest for i in range(3))]
    assert digests[0][0] == digests[0][1] == digests[1][1]
    assert digests[1][0] == digests[1][2] == digests[0][2]
    assert len(set(digests[0][1:])) == 3


def test_the_same_recipe_makes_the_same_weights_and_another_seed_others(tmp_path):
    ring = Keyring(tmp_path / "keys")
    digests = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        spec = resolve(Request("key-lora", "white-box", seed=seed, settings=SHORT), ring).spec
        w = World(Making(spec, means(tmp_path / folder)), Key.from_seed(0, "defender"))
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
