"""What FFX draws from a key is in no file, log or message: not the password, not the table, not the mask."""

import json
from pathlib import Path

import pyffx

from bench.core.key import Key

SHORT = ("--set", "profile.base.recipe.steps=3", "--set", "profile.recipes.full.steps=3", "--attack", "pgd")


def forms(key: Key) -> list[bytes]:
    """How they could leak: password raw and in hexadecimal, table and mask as text and as packed numbers."""
    password = key.derive("ffx/password/P=4")
    codes = [pyffx.Integer(password, length=3).encrypt(value) for value in range(256)]
    order = key.permutation("ffx/P=4", 48)
    mask = [v > 24 for v in order]
    texts = [sep.join(map(str, values)) for values in (codes, order) for sep in (",", ", ", " ")]
    packed = [
        b"".join(v.to_bytes(size, "little") for v in values[:40]) for values in (codes, order) for size in (2, 4, 8)
    ]
    return [password, password.hex().encode(), bytes(mask), *(t.encode() for t in texts), *packed]


def test_a_run_leaves_nothing_that_the_key_gave(cli, own_home, tmp_path):
    made = cli("key", "new", "gus")
    path = own_home / "keys" / "gus.key"
    key = Key(bytes.fromhex(path.read_text().split()[0]))
    argv = ("run", "--defense", "key-full", "--set", "defense.transform=ffx", "--threat", "white-box", "--limit", "20")
    done = cli(*argv, "--key", "gus", *SHORT, "--results", "results")
    (written,) = Path("results").glob("*/record.json")
    record = json.loads(written.read_text())
    assert (record["metrics"]["images"], record["eligible"]) == (20, record["reliable"])
    assert done.code == (0 if record["reliable"] else 1), done.err  # the audit may doubt what three steps trained
    needles = forms(key)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert any(p.suffix == ".safetensors" for p in files)
    assert any(p.name == "record.json" for p in files)
    said = [made.out.encode(), done.out.encode(), done.err.encode()]
    for content in said + [p.read_bytes() for p in files]:
        assert not any(needle in content for needle in needles)
