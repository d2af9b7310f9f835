"""A Ray cluster of two nodes; see tests/e2e/test_ray.py, which starts this in a network of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from bench.backends.on_ray import Ray
from bench.backends.ray_cluster import _check
from bench.core.errors import InputError
from bench.core.plugins import Crew, Done, Lost

pytestmark = pytest.mark.ray
HERE = Path(__file__).parent
HEAD, OTHER, PORT = "10.77.0.1", "10.77.0.2", 6399
ADDRESS = f"{HEAD}:{PORT}"
RUN = ["run", "--defense", "key-lora", "--threat", "white-box", "--attack", "pgd", "--set", "attack.steps=100", "--set",
       "profile.shard_size=4", "--limit", "24", "--json"]  # fmt: skip
ON_RAY = ["--backend", "ray", "--address", ADDRESS]
# Seconds until a node counts as dead are 20 by default.
QUICK = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4",
         "RAY_health_check_timeout_ms": "2000"}  # fmt: skip


OTHER_VERSION = """
import json, sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
about = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
about["ray_version"] = "2.1.0"
client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(about).encode(), True, b"cluster")
"""


class Cluster:
    """Nodes as `ray start` makes them; each has one CPU."""

    def __init__(self, folder):
        self.environment = {**os.environ, **QUICK, "RAY_TMPDIR": str(folder), "PYTHONPATH": str(HERE)}
        self("start", "--head", "--port", str(PORT), "--include-dashboard", "false", *self.node(HEAD))

    def __call__(self, *words):
        ray = [sys.executable, "-m", "ray.scripts.scripts", *words]
        subprocess.run(ray, env=self.environment, capture_output=True, check=True)

    def node(self, address):
        return ["--node-ip-address", address, "--num-cpus", "1", "--object-store-memory", str(80 * 2**20)]

    def join(self, address):
        self("start", "--address", ADDRESS, *self.node(address))


def processes(*words):
    """Processes that have all words in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if all(word in line for word in words):
            found.append(process)
    return found


def kill(*words):
    for process in processes(*words):
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster():
    assert [name for _, name in socket.if_nameindex()] == ["lo"], "Ray is started in a network of its own only"
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        made = Cluster(folder)
        made.join(OTHER)
        yield made
        kill(folder)


@pytest.fixture(scope="module")
def expected(shared_home, tmp_path_factory):
    """The digests of one process."""
    folder = tmp_path_factory.mktemp("local")
    env = {**os.environ, "BENCH_HOME": str(shared_home)}
    done = subprocess.run([sys.executable, "-m", "bench", *RUN, "--results", str(folder)], env=env, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["digests"]


def until_first_shard(child):
    while not list(Path("results").glob("*/shards/*.parquet")):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.01)


def where(_):
    import ray

    time.sleep(0.2)
    return ray.util.get_node_ip_address()


class Raises:
    """Raises at one item; counts those before."""

    def __init__(self):
        self.count = 0

    def __call__(self, item):
        if item == 5:
            raise InputError(f"no item {item}, after {self.count} others")
        self.count += 1


class Kills:
    """Kills its process at one item; at the others it waits until both nodes have come to work, at most a minute."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, item):
        if item == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        node = where(item)
        (self.folder / node).touch()
        for _ in range(600):
            if len(list(self.folder.iterdir())) == 2:
                break
            time.sleep(0.1)
        return node


def test_all_nodes_work_and_a_dead_worker_costs_one_item(cluster, capfd, tmp_path):
    done = list(Ray(address=ADDRESS).map(Kills(tmp_path), range(8), Crew()))
    assert [one for one in done if isinstance(one, Lost)] == [Lost(1, "its worker process has died")]
    found = {one.item: one.result for one in done if isinstance(one, Done)}
    assert set(found) == {0, 2, 3, 4, 5, 6, 7}
    assert set(found.values()) == {HEAD, OTHER}
    assert capfd.readouterr() == ("", "")


def test_one_worker_has_the_work_once_and_what_it_raises_is_raised(cluster):
    with pytest.raises(InputError, match=r"^no item 5, after 5 others$"):
        list(Ray(address=ADDRESS).map(Raises(), range(8), Crew(workers=1)))


@pytest.mark.slow
def test_two_nodes_give_the_verdicts_of_one_process(cluster, cli, expected, forget_images):
    forget_images()
    done = cli(*RUN, *ON_RAY)
    assert done.code == 0, done.err
    assert json.loads(done.out)["digests"] == expected


def test_workers_and_a_node_that_are_killed_change_no_verdict(cluster, spawn, expected, forget_images):
    forget_images()
    child = spawn(*RUN, *ON_RAY)
    until_first_shard(child)
    kill("ray::_Worker")
    kill("raylet/raylet", f"--node_ip_address={OTHER}")
    out, err = child.communicate()
    assert child.returncode == 0, err
    assert json.loads(out)["digests"] == expected
    assert "its worker process has died" in err
    cluster.join(OTHER)


def test_a_killed_command_is_completed_by_the_same_command(cluster, spawn, cli, expected, forget_images):
    forget_images()
    child = spawn(*RUN, *ON_RAY)
    until_first_shard(child)
    child.kill()
    child.communicate()
    until = time.monotonic() + 30
    while processes("ray::_Worker"):
        assert time.monotonic() < until, "workers go on without their command"
        time.sleep(0.1)
    done = cli(*RUN, *ON_RAY)
    assert done.code == 0, done.err
    assert json.loads(done.out)["digests"] == expected
    assert json.loads(done.out)["cost"]["shards_resumed"] > 0


@pytest.mark.parametrize(
    ("address", "device", "token", "why"),
    [
        (None, "cpu", True, "--address local for one on this machine alone"),
        ("ray://head:10001", "cpu", True, "--address is 'ray://head:10001'"),
        (f"{HEAD}:1", "cpu", True, "nothing answers at"),
        (ADDRESS, "cuda", True, r"no node of the Ray cluster \(2 alive\) has a GPU"),
        (ADDRESS, "cuda:1", True, "expected --device cuda"),
        (ADDRESS, "cpu", False, "wants another token"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused(cluster, monkeypatch, address, device, token, why):
    if not token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 32)
    _check.cache_clear()
    with pytest.raises(InputError, match=why) as said:
        list(Ray(address=address).map(where, range(2), Crew(device=device)))
    assert "\n" not in str(said.value)


def test_a_cluster_without_token_is_used_only_if_told_and_another_version_never(cluster, monkeypatch, tmp_path_factory):
    """A cluster at another port; its version is changed where Ray keeps it."""
    where_open = f"{HEAD}:{PORT + 1}"
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        env = {**cluster.environment, "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--port", str(PORT + 1)]
        subprocess.run(
            [*ray, "--include-dashboard", "false", *cluster.node(HEAD)], env=env, capture_output=True, check=True
        )
        for mode in ("token", None):
            monkeypatch.setenv("RAY_AUTH_MODE", mode) if mode else monkeypatch.delenv("RAY_AUTH_MODE")
            with pytest.raises(InputError, match="runs code for anyone who reaches it"):
                list(Ray(address=where_open).map(where, range(2), Crew()))
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        subprocess.run([sys.executable, "-c", OTHER_VERSION, where_open], check=True)
        with pytest.raises(InputError, match=r"no connection to Ray: Version mismatch: .* 2\.1\.0") as said:
            list(Ray(address=where_open).map(where, range(2), Crew()))
        assert "\n" not in str(said.value)
        kill(folder)


def test_a_cluster_of_this_machine_alone_listens_on_the_loopback_only(spawn, expected, forget_images, tmp_path):
    forget_images()
    before = {process.pid for process in psutil.process_iter()}
    child = spawn(*RUN, "--backend", "ray", "--address", "local", RAY_AUTH_MODE="disabled", HOME=str(tmp_path))
    until_first_shard(child)
    ports = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid not in before]
    out, err = child.communicate()
    assert child.returncode == 0, err
    assert json.loads(out)["digests"] == expected
    assert len(ports) > 3
    assert {c.laddr.ip.removeprefix("::ffff:") for c in ports} == {"127.0.0.1"}
    assert not (tmp_path / ".ray").exists(), "a token was left on disk"


@pytest.mark.slow
def test_a_node_that_joins_is_used(cluster):
    kill("raylet/raylet", f"--node_ip_address={OTHER}")
    seen = set()
    for one in Ray(address=ADDRESS).map(where, range(100), Crew()):
        if not seen:
            cluster.join(OTHER)
        seen.add(one.result)
    assert seen == {HEAD, OTHER}


@pytest.mark.slow
def test_the_quick_ladder_is_the_same(cluster, cli, forget_images):
    words = [
        "ladder",
        "--defense",
        "key-lora",
        "--ladder",
        "quick",
        "--limit",
        "16",
        "--set",
        "profile.shard_size=8",
        "--json",
    ]
    found = []
    for more in (["--results", "local"], [*ON_RAY, "--results", "ray"]):
        forget_images()
        done = cli(*words, *more)
        assert done.code in (0, 1), done.err
        runs = [rung["run_id"] for rung in json.loads(done.out)["rungs"]]
        found.append([json.loads(Path(more[-1], run, "record.json").read_text())["digests"] for run in runs])
    assert found[0] == found[1]
    assert len(found[0]) > 3
