"""The fixed suites: which runs satisfy them, and what is said of those that do not."""

import sys

import pytest

from bench.checks.suites import SUITES, Ran, Scope, missing, satisfied
from bench.core.registry import registry
from tests.unit.report.synthetic import run


def ran(own=False, precision=None, **given):
    """A run as a suite sees it; ``attack_options`` are options of the attack that differ from its defaults."""
    changed, threat = given.pop("attack_options", {}), given.pop("threat_set", {})
    spec = run(own=own, **given).record.spec
    attack = spec.attack.model_copy(update={"options": {**spec.attack.options, **changed}})
    facing = spec.threat.model_copy(update={"options": {**spec.threat.options, **threat}})
    update = {"attack": attack, "threat": facing} | ({"precision": precision} if precision else {})
    return Ran(spec.model_copy(update=update), own)


def suite(scope=Scope.TRANSFER):
    return [ran(own=one.threat == "white-box", threat=one.threat, attack=one.attack, attack_options=dict(one.fixed))
            for one in SUITES[scope]]  # fmt: skip


def test_the_tries_of_each_scope():
    transfer = [
        "non-adaptive: transfer",
        "non-adaptive: autoattack (mode = budget)",
        "adaptive: transfer",
        "adaptive: autoattack (mode = budget)",
    ]
    assert [one.name for one in SUITES[Scope.TRANSFER]] == transfer
    assert [one.name for one in SUITES[Scope.QUERIES]] == [*transfer, "query-score: square"]
    assert [one.name for one in SUITES[Scope.WHITE_BOX]] == ["white-box: autoattack"]


@pytest.mark.parametrize("scope", list(Scope))
def test_the_whole_suite_lacks_nothing_and_without_one_run_that_is_named(scope):
    runs = suite(scope)
    assert missing(scope, runs) == []
    for at, one in enumerate(SUITES[scope]):
        assert missing(scope, runs[:at] + runs[at + 1 :]) == [f"{one.name}: not run"]
        assert satisfied(scope, runs[at]) == one


WEAK = {
    "fewer steps": ({"attack": "transfer", "attack_options": {"steps": 10}}, "steps is 10, needs 30 or more"),
    "a tiny step": (
        {"attack": "transfer", "attack_options": {"relative_step": 1e-6}},
        "relative_step is 1e-06, needs 0.1",
    ),
    "another method": ({"attack": "transfer", "attack_options": {"diversity": 0.5}}, "diversity is 0.5, needs 0.0"),
    "true for a number": (
        {"attack": "transfer", "attack_options": {"steps": True}},
        "steps is true, needs 30 or more",
    ),
    "text for a number": ({"attack": "transfer", "attack_options": {"steps": "99"}}, "steps is 99, needs 30 or more"),
    "an unknown option": ({"attack": "transfer", "attack_options": {"off": True}}, "off is unknown"),
    "done when fooled": ({"attack_options": {}}, "mode is first, needs budget"),
    "fewer queries": (
        {"attack_options": {"mode": "budget", "queries": 1000}},
        "queries is 1000, needs 5000 or more",
    ),
    "parts of it": (
        {"attack_options": {"mode": "budget", "version": "custom", "attacks": ["square"]}},
        'version is custom, needs standard; attacks is ["square"], needs []',
    ),
    "half the precision": (
        {"attack_options": {"mode": "budget"}, "precision": "bf16"},
        "the search is in bf16, needs fp32",
    ),
    "another guess": (
        {"attack": "transfer", "threat": "adaptive", "threat_set": {"guess": 3}},
        "guess is 3, needs 0",
    ),
}


@pytest.mark.parametrize("case", WEAK)
def test_a_weaker_run_does_not_satisfy_its_try_and_the_option_is_named(case):
    given, said = WEAK[case]
    weak = ran(**given)
    (text,) = [t for t in missing(Scope.TRANSFER, [weak]) if not t.endswith(": not run")]
    assert text.endswith(f": {said}")
    assert satisfied(Scope.TRANSFER, weak) is None


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("transfer", {"steps": 300, "samples": 9}),
        ("autoattack", {"mode": "budget", "iterations": 200, "queries": 9000, "targets": 20, "restarts": 2}),
        ("autoattack", {"mode": "budget", "version": "plus"}),
    ],
)
def test_more_of_the_same_satisfies_it(attack, options):
    assert satisfied(Scope.TRANSFER, ran(attack=attack, attack_options=options))


def test_fewer_queries_of_the_threat_are_fewer_queries():
    weak = ran(threat="query-score", attack="square", threat_set={"queries": 1000})
    assert "query-score: square: queries is 1000, needs 5000 or more" in missing(Scope.QUERIES, [weak])


def test_of_two_weak_runs_the_nearer_one_is_described():
    runs = [ran(attack="transfer", attack_options=o) for o in ({"steps": 1, "noise": 0.0}, {"steps": 29})]
    assert "non-adaptive: transfer: steps is 29, needs 30 or more" in missing(Scope.TRANSFER, runs)


def test_white_box_is_the_source_not_the_name():
    assert missing(Scope.WHITE_BOX, [ran(own=True, defense="plain", threat="non-adaptive")]) == []
    assert missing(Scope.WHITE_BOX, [ran(own=False, threat="white-box")]) == ["white-box: autoattack: not run"]


def test_an_outsiders_attack_satisfies_nothing_under_whatever_name(outsiders, tmp_path):
    """Not under its own name, and not when it is registered under the name of a packaged one."""
    assert missing(Scope.TRANSFER, [ran(attack="made-for-transfer")])[0] == "non-adaptive: transfer: not run"
    packaged = ran(attack="transfer")
    folder = tmp_path / "shadow-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shadow\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[bench.attacks]\ntransfer = outsider_attacks:MadeForTransfer\n")
    sys.path.append(str(tmp_path))
    registry.cache_clear()
    try:
        shadowed = missing(Scope.TRANSFER, [packaged])[0]
    finally:
        sys.path.remove(str(tmp_path))
        registry.cache_clear()
    assert shadowed == "non-adaptive: transfer: transfer is not a plug-in of this package"
