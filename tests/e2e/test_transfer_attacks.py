"""`--attack vmi`: transfer attacks by the command line, on the profile's real models."""

import json
from pathlib import Path

import numpy

import bench

ARGV = ("run", "--defense", "key-full", "--limit", "60")


def record_of(done) -> dict:
    assert done.code == 0, done.err
    return json.loads(done.out)


def accuracy(cli, threat: str, attack: str, *more: str) -> float:
    argv = (*ARGV, "--threat", threat, "--attack", attack, "--json", *more)
    return record_of(cli(*argv))["metrics"]["robust_accuracy"]


def test_the_projects_own_attack_transfers_where_autoattack_does_not(cli):
    for threat in ("non-adaptive", "adaptive"):
        weak, strong = (accuracy(cli, threat, attack) for attack in ("autoattack", "transfer"))
        assert strong < weak - 0.1, f"{threat}: transfer leaves {strong:.2f}, autoattack {weak:.2f}"


def test_a_preset_and_its_options_are_in_the_record(cli):
    record = record_of(cli(*ARGV, "--threat", "non-adaptive", "--attack", "di", "--set", "attack.steps=2", "--json"))
    options = record["spec"]["attack"]["options"]
    assert (record["spec"]["attack"]["name"], options["diversity"], options["steps"]) == ("di", 0.5, 2)
    assert record["cost"]["source_backwards"] == 60 * 2


def test_parts_compose_on_the_command_line(cli):
    parts = {"steps": 2, "samples": 1, "neighbours": 1, "blocks": 2, "pna": True, "tgr": True}

    def made(**options) -> dict:
        sets = [word for name, value in options.items() for word in ("--set", f"attack.{name}={json.dumps(value)}")]
        return record_of(cli(*ARGV, "--threat", "non-adaptive", "--attack", "transfer", *sets, "--json"))

    def images(record: dict) -> numpy.ndarray:
        return bench.load(record["run_id"]).images(count=20, seed=0).adversarial

    record = made(**parts)
    whole = images(record)
    assert record["spec"]["attack"]["options"].items() >= parts.items()
    assert record["cost"]["source_backwards"] == 60 * 3  # two steps, and a neighbour of the first
    for part, off in (("neighbours", 0), ("blocks", 1), ("pna", False), ("tgr", False)):
        assert (images(made(**{**parts, part: off})) != whole).any(), part


def test_an_unknown_part_is_refused_in_one_line(cli):
    done = cli(*ARGV, "--threat", "non-adaptive", "--attack", "mi", "--set", "attack.diversty=0.5")
    assert done.code == 2
    assert "diversity" in done.err
    assert not list(Path("results").glob("*"))


def test_the_attacks_are_listed_with_their_papers(cli):
    listed = {e["name"]: e["summary"] for e in json.loads(cli("list", "attacks", "--json").out)}
    papers = {"mi": "1710.06081", "ni": "1908.06281", "di": "1803.06978", "ti": "1904.02884", "si": "1908.06281",
              "vmi": "2103.15571", "vni": "2103.15571", "pgn": "2306.05225", "bsr": "2308.10299", "pna": "2109.04176",
              "tgr": "2303.15754"}  # fmt: skip
    assert all(paper in listed[name] for name, paper in papers.items())
