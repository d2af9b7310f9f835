"""No key material leaves the keyring: not into results, caches, logs, messages or process titles."""

import base64
import json
from pathlib import Path

from bench.core.key import Key

SHORT = ("--set", "profile.base.recipe.steps=3", "--set", "profile.recipes.lora.steps=3", "--attack", "pgd")


def forms(secret: str, order: list[int]) -> list[bytes]:
    """How a key could leak: hex, raw, base64, as a number, or as the permutation it draws."""
    raw = bytes.fromhex(secret)
    listed = [sep.join(map(str, order)).encode() for sep in (",", ", ", " ")]
    packed = [b"".join(v.to_bytes(size, "little") for v in order) for size in (1, 2, 4, 8)]
    number = str(int(secret, 16)).encode()
    return [secret.encode(), secret.upper().encode(), raw, base64.b64encode(raw)[:-2], number, *listed, *packed]


def the_record() -> dict:
    (path,) = Path("results").glob("*/record.json")
    return json.loads(path.read_text())


def test_a_key_is_nowhere_but_in_its_file(cli, spawn, own_home, tmp_path):
    made = cli("key", "new", "dora")
    path = own_home / "keys" / "dora.key"
    secret = path.read_text().split()[0]
    key = Key(bytes.fromhex(secret))
    assert key.fingerprint in made.out
    needles = forms(secret, key.permutation("pixel-shuffle/P=4", 48))

    argv = ("run", "--defense", "key-lora", "--threat", "white-box", "--key", "dora", "--limit", "20", *SHORT)
    process = spawn(*argv, "--results", "results", BENCH_DEBUG="1")
    title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, err = process.communicate(timeout=300)
    record = the_record()
    assert (record["metrics"]["images"], record["eligible"]) == (20, record["reliable"])
    # The audit may doubt a model trained for a few steps.
    assert process.returncode == (0 if record["reliable"] else 1), err
    listed = cli("key", "list")
    assert key.fingerprint in listed.out
    shown = cli("results", "list", "--json")
    assert key.fingerprint in shown.out

    haystacks = [out.encode(), err.encode(), title, made.out.encode(), listed.out.encode(), shown.out.encode()]
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert any(p.name == "record.json" for p in files)
    assert any(p.name == "adapter_model.safetensors" for p in files)
    for content in haystacks + [p.read_bytes() for p in files]:
        assert not any(needle in content for needle in needles)


def test_tracebacks_show_no_key(cli, home):
    cli("key", "new", "eve")
    path = home / "keys" / "eve.key"
    secret = path.read_text().split()[0]
    argv = ("run", "--defense", "key-lora", "--threat", "white-box", "--key", "eve", "--set", "defense.block_size=5")
    done = cli("--debug", *argv)
    path.unlink()
    assert done.code == 2
    assert "Traceback" in done.err
    assert secret not in done.err


def test_verify_needs_the_defenders_key(cli, home):
    cli("key", "new", "fay")
    argv = ("run", "--defense", "key-lora", "--threat", "non-adaptive", "--key", "fay", "--limit", "20", *SHORT)
    done = cli(*argv)
    record = the_record()
    assert (record["metrics"]["images"], record["eligible"]) == (20, record["reliable"])
    # The audit may doubt a model trained for a few steps.
    assert done.code == (0 if record["reliable"] else 1), done.err
    run_id = record["run_id"]
    assert "every verdict confirmed" in cli("results", "verify", run_id).out
    (home / "keys" / "fay.key").unlink()
    done = cli("results", "verify", run_id)
    assert done.code == 2
    assert "expected the defender's key file" in done.err
