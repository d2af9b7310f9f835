"""A process that follows its parent ends with it, also where the parent is killed."""

import os
import signal
import subprocess
import sys

import pytest

from tests.processes import lives, survivors

CHILD = """
import sys, time
{before}
from bench.core.parent import follow_parent
follow_parent()
print("ready", flush=True)
while True: sum(range(10_000))
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "ready\\n"
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("before", ["", "sys.platform = 'other'"])
def test_a_child_ends_with_its_killed_parent(before):
    """At once on Linux; elsewhere it watches."""
    script = CHILD.format(before=before)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, script], stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.send_signal(signal.SIGKILL)
    try:
        assert survivors([child]) == []
    finally:
        if lives(child):
            os.kill(child, signal.SIGKILL)
