"""A second backend: shards are made in other processes from data alone, with the same verdicts."""

import json
import pickle

from bench.core.key import Key
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.work import ShardWork
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunStore

WORDS = ("run", "--defense", "key-lora", "--threat", "white-box", "--attack", "pgd", "--limit", "20", "--json", "--set",
         "attack.steps=3", "--set", "profile.shard_size=8")  # fmt: skip


def test_shards_in_other_processes_have_the_same_verdicts(cli, outsiders, forget_images):
    own = cli(*WORDS)
    assert own.code == 0, own.err
    forget_images()
    other = cli(*WORDS, "--backend", "processes", "--results", "other")
    assert other.code == 0, other.err
    digests = [json.loads(done.out)["digests"] for done in (own, other)]
    assert digests[0] == digests[1]


def test_work_takes_no_key_along_and_finds_it_by_its_fingerprint(home, tmp_path):
    name = f"courier-{tmp_path.name}"
    key = Keyring(home / "keys").new(name)
    job = resolve(Request("key-lora", "white-box", key=name), Keyring(home / "keys"))
    sent = pickle.dumps(ShardWork(job, Means(RunStore(tmp_path), Home(home))))
    assert isinstance(job.key, Key)
    assert key.fingerprint.encode() in sent
    assert bytes.fromhex(key.reveal()) not in sent
    assert key.reveal().encode() not in sent
