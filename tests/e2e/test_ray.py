"""Ray runs in a network of its own: a new network namespace with nothing but the loopback, which pytest enters here.

Ray listens on all addresses of a machine, so its tests (tests/ray/inside.py) never run outside of such a namespace.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

INSIDE = Path(__file__).parents[1] / "ray" / "inside.py"
ALONE = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--pid", "--fork", "--mount-proc",
         "--kill-child"]  # fmt: skip
# Two addresses for two nodes, and a third one that is not the loopback's own, as a machine in a network has.
NETWORK = ("ip link set lo up && ip addr add 10.77.0.1/32 dev lo && ip addr add 10.77.0.2/32 dev lo && "
           'ip route add default dev lo src 10.77.0.1 && exec "$@"')  # fmt: skip


def missing() -> str | None:
    """Why Ray cannot be tested here."""
    if find_spec("ray") is None:
        return "the package ray is not installed"
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "no unshare (util-linux) or ip (iproute2)"
    done = subprocess.run([*ALONE, "sh", "-c", NETWORK, "sh", "true"], capture_output=True, text=True, check=False)
    return f"no network namespace can be made: {done.stderr.strip()}" if done.returncode else None


@pytest.mark.ray
@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_a_network_of_its_own(home, marked):
    if why := missing():
        pytest.skip(why)
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "RAY", "BENCH"))}
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", f"ray and {marked}"]
    done = subprocess.run(
        [*ALONE, "sh", "-c", NETWORK, "sh", *pytest_, "--durations", "0", str(INSIDE)],
        env={**own, "KEYBENCH_TEST_HOME": str(home), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        cwd=INSIDE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    print(done.stdout)
