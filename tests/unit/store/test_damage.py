"""One bit flipped anywhere, or a right file in a wrong place: named, never believed."""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from torch import nn

from bench.core.budget import Budget
from bench.core.cost import Meter
from bench.core.errors import CorruptArtifactError, KeyringError, StorageError
from bench.store.candidates import CandidateStore, Made
from bench.store.keyring import Keyring
from bench.store.models import ModelCache
from bench.training.checkpoint import Checkpoint

BUDGET = Budget.parse("linf:4/255")


def flips(data, most=400):
    """Copies of ``data`` with one bit turned: at every byte of a short file, at some of a long one."""
    draw = random.Random(0)
    places = range(len(data)) if len(data) <= most else sorted(draw.sample(range(len(data)), most))
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        yield place, bytes(changed)


def test_a_flipped_bit_in_a_key_file_is_never_another_key(tmp_path):
    ring = Keyring(tmp_path)
    key = ring.new("alice")
    path = tmp_path / "alice.key"

    def read(name):
        with suppress(KeyringError):
            return ring.read(name)

    for bit in range(8):
        data = path.read_bytes()
        for place in range(len(data)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            assert read("alice") in (key, None)
            path.write_bytes(data)
    path.write_bytes(data.split()[0] + b"\n")  # as earlier versions wrote it
    assert ring.read("alice") == key


def test_of_many_who_make_a_key_of_one_name_one_succeeds(tmp_path):
    ring = Keyring(tmp_path / "keys")

    def make(_):
        with suppress(KeyringError):
            return ring.new(name)

    for name in (f"key{i}" for i in range(20)):
        with ThreadPoolExecutor(8) as pool:
            made = [key for key in pool.map(make, range(8)) if key]
        assert made == [ring.read(name)]
    assert not [p for p in (tmp_path / "keys").iterdir() if p.suffix != ".key"]


def test_a_keyring_that_others_can_change_is_refused(tmp_path):
    ring = Keyring(tmp_path / "keys")
    key = ring.new("alice")
    (tmp_path / "keys").chmod(0o777)
    for use in (lambda: ring.read("alice"), lambda: ring.new("bob")):
        with pytest.raises(KeyringError, match="mode 0777, so others can put keys into it"):
            use()
    (tmp_path / "keys").chmod(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    with pytest.raises(KeyringError, match="is a link"):
        Keyring(tmp_path / "link").read("alice")
    (tmp_path / "keys/odd.key").write_text("?")
    (tmp_path / "keys/odd.key").chmod(0o600)
    assert ring.find(key.fingerprint) == key  # one odd file hides no other key


def kept(folder):
    clean = torch.rand(2, 3, 4, 4)
    images = (clean + BUDGET.radius * torch.rand_like(clean).sub(0.5).sign()).clamp(0, 1)
    images[0, 0] = clean[0, 0] + 0.001
    made = Made(images, torch.zeros(2, dtype=torch.bool), ("careful",), {"pgd": Meter(5, 3)}, 0.5)
    CandidateStore(folder).write("ab" * 32, made, clean, BUDGET)
    (path,) = folder.rglob("*.images")
    return lambda address: CandidateStore(folder).read(address, clean, BUDGET), path


def test_a_flipped_bit_in_kept_adversarial_images_is_named(tmp_path):
    read, path = kept(tmp_path)
    whole = path.read_bytes()
    for data in (*(data for _, data in flips(whole, most=2000)), *(whole[:size] for size in range(len(whole)))):
        path.write_bytes(data)
        with pytest.raises(CorruptArtifactError, match=rf"{path.name} are damaged"):
            read("ab" * 32)


def test_adversarial_images_of_another_address_are_not_taken(tmp_path):
    read, path = kept(tmp_path)
    other = tmp_path / "cd" / f"{'cd' * 32}.images"
    other.parent.mkdir()
    shutil.copy(path, other)
    with pytest.raises(CorruptArtifactError, match="are damaged"):
        read("cd" * 32)


def test_adversarial_images_of_other_clean_images_are_not_taken(tmp_path):
    kept(tmp_path)
    with pytest.raises(CorruptArtifactError, match="it belongs to other clean images"):
        CandidateStore(tmp_path).read("ab" * 32, torch.rand(2, 3, 4, 4), BUDGET)


def model(root, seed=0, name="one"):
    def build(folder):
        (folder / "model.safetensors").write_bytes(random.Random(seed).randbytes(100))

    return ModelCache(root).fetch({"name": name, "steps": [1, 2, seed]}, build)[0]


def test_a_flipped_bit_in_a_models_manifest_is_named(tmp_path):
    manifest = model(tmp_path) / "manifest.json"
    for _, data in flips(whole := manifest.read_bytes()):
        manifest.write_bytes(data)
        with pytest.raises(CorruptArtifactError, match="cached"):
            model(tmp_path)
    manifest.write_bytes(whole)
    assert model(tmp_path) == manifest.parent


def test_another_models_folder_and_a_file_too_many_are_named(tmp_path):
    one, two = model(tmp_path), model(tmp_path, name="two")
    shutil.rmtree(one)
    shutil.copytree(two, one)
    with pytest.raises(CorruptArtifactError, match=r"has the manifest.json of another model"):
        model(tmp_path)
    (two / "more.bin").write_bytes(b"")
    with pytest.raises(CorruptArtifactError, match=r"holds more.bin, which its manifest.json does not"):
        model(tmp_path, name="two")


def test_what_a_killed_making_left_is_no_model_and_is_swept(tmp_path):
    folder = model(tmp_path)
    left = folder.with_name(f"{folder.name}.99999.part")
    shutil.copytree(folder, left)
    cache = ModelCache(tmp_path)
    assert cache.like({"name": "one"})[0] == folder
    shutil.rmtree(folder)
    assert cache.like({"name": "one"}) is None
    assert model(tmp_path) == folder
    assert not left.exists()


def test_a_disk_that_fills_while_weights_are_saved_is_one_line(tmp_path):
    from safetensors.torch import save_file

    def build(folder):
        (folder / "model").symlink_to("/dev/full")
        save_file({"w": torch.rand(100_000)}, folder / "no" / "folder.safetensors")

    with pytest.raises(StorageError, match=r"cannot write .*; expected a writable BENCH_HOME"):
        ModelCache(tmp_path).fetch({"a": 1}, build)


def trained(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    return Checkpoint(net, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1))


def test_a_flipped_bit_in_a_training_checkpoint_is_named(tmp_path):
    checkpoint = trained(nn.Linear(3, 2))
    checkpoint.save(tmp_path, 1)
    path = tmp_path / "checkpoint.pt"
    for _, data in flips(whole := path.read_bytes(), most=600):
        path.write_bytes(data)
        with pytest.raises(CorruptArtifactError, match=r"checkpoint.pt cannot be used \(its bytes do not have"):
            checkpoint.load(tmp_path)
    path.write_bytes(whole)
    assert checkpoint.load(tmp_path) == 1
