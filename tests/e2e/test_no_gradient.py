"""Models without a gradient, and figures of the cost that cannot be computed."""

import json
import re

import pytest

pytestmark = pytest.mark.usefixtures("outsiders")
RUN = ("run", "--defense", "graphless", "--threat", "white-box", "--limit", "8")


@pytest.mark.parametrize(("how", "attack"), [("int8", "pgd"), ("detached", "autoattack"), ("detached", "transfer")])
def test_a_gradient_attack_is_refused_before_it_starts(cli, how, attack):
    done = cli(*RUN, "--set", f"defense.how={how}", "--attack", attack)
    assert done.code == 2
    (line,) = re.findall(r"^bench: .*$", done.err, re.MULTILINE)
    assert "gives no gradient" in line
    assert re.search("--attack rays or square", line)


@pytest.mark.parametrize("how", ["int8", "detached"])
def test_queries_need_none(cli, how):
    done = cli(*RUN, "--set", f"defense.how={how}", "--attack", "square", "--set", "attack.queries=300", "--json")
    record = json.loads(done.out)
    assert record["metrics"]["outcomes"]["fooled"] > 0
    assert record["metrics"]["outcomes"]["error"] == 0
    assert record["spec"]["fallback"] is None
    assert record["cost"]["flops_backward"] in (0, None)


def test_a_cost_that_cannot_be_counted_costs_no_run(cli):
    argv = (*RUN, "--set", "defense.how=uncounted", "--attack", "pgd", "--set", "attack.steps=10")
    record = json.loads(cli(*argv, "--json").out)
    assert record["metrics"]["outcomes"]["fooled"] > 4
    assert record["cost"]["flops_forward"] is None
    assert record["cost"]["mfu"] is None
    shown = cli(*argv)
    assert "FLOPs not counted" in shown.out


def test_a_base_that_the_defense_cannot_tune_is_refused_before_it_is_trained(cli, home, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(home / "none"))
    cnn = ("--set", "profile.base.architecture=resnet10t", "--set", "profile.base.arguments={}")
    done = cli("run", "--defense", "key-lora", "--threat", "white-box", "--limit", "4", *cnn)
    assert done.code == 2
    assert "ResNet has no qkv layers; expected a ViT for LoRA" in done.err
    assert "pre-train" not in done.err
