"""Choices that can be made after results are seen: what a rank fixes instead, and what a standing lacks of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bench.checks.suites import packaged
from bench.core.spec import PluginSpec, Spec
from bench.report.board.facts import Fact

SEED = 0  # of a rank: it decides key, training and the attacks' draws


def chosen_images(fact: Fact) -> list[str]:
    """What is wrong with the images of a standing; empty if they are a known list of a packaged data set."""
    dataset = fact.record.spec.profile.dataset
    if fact.record.spec.stop_at is not None:
        return ["the run may stop early, so its verdicts decide which images it judges; a rank needs all of a list"]
    if fact.selection is None or not packaged("datasets", PluginSpec(name=dataset)):
        return ["own choice of images; a rank needs a known list: all test images, the first of them, or RobustBench's"]
    return []


def chosen_deployment(spec: Spec) -> list[str]:
    """What is wrong with the seed and the key of a deployment; empty if nobody could choose them."""
    if spec.seed != SEED:
        return [f"seed {spec.seed}; a rank needs seed {SEED}, and other seeds can only lower it"]
    if spec.key is not None and spec.key.origin != "seed":
        return [f"a key of somebody's own; a rank needs the key of seed {SEED}, which nobody can choose"]
    return []


def devices_of(facts: Iterable[Fact]) -> dict[int, list[Fact]]:
    """The runs by number of the device, in order."""
    found: dict[int, list[Fact]] = defaultdict(list)
    for fact in facts:
        found[fact.record.spec.device].append(fact)
    return {device: found[device] for device in sorted(found)}


def lacks_of(facts: Sequence[Fact], lack: Callable[[list[Fact]], list[str]]) -> list[str]:
    """What a standing lacks for a rank, one line each.

    Args:
        facts: All its runs, on the same images.
        lack: What the runs against one deployment lack of the suite.
    """
    devices = devices_of(facts)
    lines: dict[str, list[int]] = defaultdict(list)
    for device, own in devices.items():
        for text in _lack_of_device(own, lack):
            lines[text].append(device)
    out = chosen_images(facts[0])
    if list(devices) != list(range(len(devices))):
        out.append(f"{_named(list(devices))} alone; a rank needs the first devices, from number 0")
    return out + [text if len(at) == len(devices) else f"{_named(at)}: {text}" for text, at in lines.items()]


def _lack_of_device(facts: Sequence[Fact], lack: Callable[[list[Fact]], list[str]]) -> list[str]:
    """What the deployment of a device lacks that comes nearest to a whole suite, of those that nobody could choose."""
    targets: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        targets[fact.target].append(fact)
    given = {target: [f for f in own if not chosen_deployment(f.record.spec)] for target, own in targets.items()}
    lacks = [lack(given[target]) for target in sorted(given) if given[target]]
    return min(lacks, key=len) if lacks else chosen_deployment(facts[0].record.spec)


def _named(devices: Sequence[int]) -> str:
    return f"device{'s' if len(devices) > 1 else ''} {', '.join(map(str, devices))}"
