"""Bad input: one clear line, exit code 2, nothing written."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = {"--defense": "plain", "--threat": "white-box", "--attack": "pgd", "--limit": "10"}


def argv(**change: str | None) -> list[str]:
    flags = {**GOOD, **{f"--{k.replace('_', '-')}": v for k, v in change.items()}}
    return ["run", *(part for k, v in flags.items() if v is not None for part in (k, v))]


CASES = {
    "unknown defense": (argv(defense="key-lorra"), r"unknown defense 'key-lorra'; did you mean key-lora"),
    "unknown threat": (argv(threat="adptive"), r"did you mean adaptive"),
    "unknown attack": (argv(attack="autoatack"), r"did you mean autoattack"),
    "unknown profile": (argv(profile="digit"), r"unknown profile 'digit'; did you mean digits"),
    "profile file": (argv(profile="none.yaml"), r"profile file 'none.yaml' does not exist"),
    "unknown norm": (argv(norm="l3"), r"unknown norm 'l3'; expected one of linf, l2, l1"),
    "negative eps": (argv(eps="-0.1"), r"eps is -0.1, which is negative"),
    "eps no number": (argv(eps="4/255px"), r"eps '4/255px' is not a number; expected a fraction"),
    "unknown protocol": (argv(protocol="lenient"), r"unknown protocol 'lenient'; expected one of strict, paper"),
    "P does not divide": (argv(defense="key-full", set="defense.block_size=5"), r"P = 5 does not divide the 32 x 32"),
    "unknown transform": (argv(defense="key-full", set="defense.transform=shuffle"), r"did you mean pixel-shuffle"),
    "unknown option": (argv(set="attack.step=3"), r"pgd has no option 'step'; did you mean steps"),
    "wrong option": (argv(set="attack.steps=many"), r"option of pgd: steps.*got 'many'"),
    "unknown section": (argv(set="atack.steps=3"), r"setting 'atack.steps' is not SECTION.NAME"),
    "setting without value": (argv(set="attack.steps"), r"is not SECTION.NAME=VALUE"),
    "unknown recipe": (argv(set="profile.base.recipe.stepz=3"), r"base.recipe.stepz"),
    "no such key": (argv(defense="key-full", key="alice"), r"no key 'alice' in .*bench key new alice"),
    "key for plain": (argv(key="alice"), r"defense plain has no key"),
    "limit": (argv(limit="0"), r"--limit is 0; expected 1 or more"),
    "batch size": (argv(batch_size="0"), r"--batch-size is 0"),
    "seed": (argv(seed="-1"), r"--seed is -1"),
    "limit no number": (argv(limit="ten"), r"--limit.*valid integer"),
    "no defense": (argv(defense=None), r"--defense"),
    "unknown flag": ([*argv(), "--epsilon", "1"], r"--epsilon"),
    "backend": (argv(backend="dask"), r"unknown backend 'dask'"),
    "precision": (argv(precision="fp8"), r"unknown precision 'fp8'; expected one of fp32, tf32, bf16, auto"),
    "precision of official": (argv(attack="autoattack-reference", precision="bf16"), r"does not support bf16"),
    "unknown part": (argv(attack="autoattack", set="attack.attacks=[apgd]"), r"option of autoattack"),
    "l1 per image": (argv(attack="autoattack", norm="l1"), r"does not support norm l1.*autoattack-reference"),
    "device": (argv(device="cuda:99"), r"device 'cuda:99' is not available"),
    "siblings of plain": (argv(threat="cross-key"), r"plain has no key, so no siblings"),
    "results is a file": (argv(results="a-file"), r"cannot write a-file: not a directory|file exists"),
    "results unwritable": (argv(results="/proc/bench"), r"cannot write /proc/bench"),
    "no such config": (["run", "--config", "none.yaml"], r"config 'none.yaml' cannot be read"),
    "config with a wrong flag": (["run", "--config", "bad.yaml"], r"sets 'defence', which is not a flag; did you mean"),
    "a suite for a run": (["run", "--config", "suite.yaml"], r"is a suite of runs; expected the flags of one"),
    "unknown table": (["reproduce", "table9"], r"unknown table 'table9'; did you mean table2"),
    "unknown suite": (["reproduce", "fig4", "--profile", "imagnet"], r"no suite for profile 'imagnet'; did you mean"),
    "a suite that does not exist": (["reproduce", "fig4", "--suite", "no.yaml"], r"config 'no.yaml' cannot be read"),
    "no ladder": (["reproduce", "ladders"], r"no ladder of profile digits in results; expected one: run `bench ladder"),
    "unknown kind": (["list", "defences"], r"unknown kind 'defences'; did you mean defenses"),
    "no such run": (["results", "show", "beef"], r"no run 'beef' in results"),
    "key name": (["key", "new", "../evil"], r"key name '../evil' cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line_exit_code_2_nothing_written(cli, home, case):
    Path("a-file").write_text("")
    Path("bad.yaml").write_text("defence: plain\n")
    Path("suite.yaml").write_text("suite: table1\n")
    words, says = CASES[case]
    before = sorted(p for p in Path().rglob("*"))
    done = cli(*words)
    lines = [line for line in done.err.splitlines() if not line.startswith(("pre-train", "fine-tune"))]
    assert done.code == 2
    assert done.out == ""
    assert len(lines) == 1, done.err
    assert lines[0].startswith("bench: ")
    assert re.search(says, lines[0]), lines[0]
    assert sorted(Path().rglob("*")) == before
    assert not (home / "keys").exists() or not list((home / "keys").glob("*evil*"))


def test_eps_4_is_warned_of_and_kept_in_the_record(cli):
    done = cli(*argv(eps="4"))
    assert done.code == 0
    assert "did you mean 4/255?" in done.err
    assert "did you mean 4/255?" in done.out


def test_a_key_readable_by_others_is_refused(cli, home):
    assert cli("key", "new", "carol").code == 0
    path = home / "keys" / "carol.key"
    path.chmod(0o644)
    done = cli(*argv(defense="key-full", key="carol"))
    path.unlink()
    assert done.code == 2
    assert "mode 0644, so others can read it" in done.err
    assert not Path("results").exists()


def test_a_damaged_key_file_hides_no_other_key(cli, home):
    made = [cli("key", "new", name).out.split()[1] for name in ("uma", "vic")]
    (home / "keys" / "uma.key").write_text("not a key")
    done = cli("key", "list")
    for name in ("uma", "vic"):
        (home / "keys" / f"{name}.key").unlink()
    assert done.code == 2
    assert f"vic  {made[1]}" in done.out
    assert "uma.key is not 64 hexadecimal digits" in done.err


def test_a_corrupt_checkpoint_is_named_and_rebuilt_only_on_request(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "own"))
    words = argv(set="profile.base.recipe.steps=3")
    assert cli(*words).code == 0
    (weights,) = (tmp_path / "own" / "cache" / "models").rglob("model.safetensors")
    good = weights.read_bytes()
    weights.write_bytes(good[:-4] + b"\0\0\0\1")
    done = cli(*words, "--results", "other")
    assert done.code == 2
    assert str(weights) in done.err
    assert "--rebuild" in done.err
    assert not Path("other").exists()
    assert cli(*words, "--results", "other", "--rebuild").code == 0
    assert weights.read_bytes() == good


def test_a_full_disk_leaves_no_half_shard(cli, home):
    """The process may write no file larger than 1 kB; a shard is larger. Then there is room again."""
    words = argv(defense="plain", limit="50")
    assert cli(*words, "--results", "room").code == 0  # so that models and adversarial images are there
    code = (
        "import resource, signal, sys\n"
        "import bench.engine.evaluate\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "from bench.cli.entry import console\n"
        "console()"
    )
    run = [sys.executable, "-W", "ignore", "-c", code, *words, "--results", "full"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert re.search(r"bench: cannot write .*shards/00000.parquet: file too large; expected", done.stderr)
    assert not [p for p in Path("full").rglob("*") if p.is_file() and p.name not in (".lock", ".begun.json")]
    assert cli(*words, "--results", "full").code == 0
    one, two = (next(Path(r).rglob("verdicts.parquet")).read_bytes() for r in ("room", "full"))
    assert one == two


def test_interrupting_says_how_to_go_on(spawn):
    process = spawn(*argv(set="attack.steps=100000", limit="100"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("attack and judge"):
            break
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped; run the same command again to resume" in err
