"""`bench results compare` on real runs: what it counts, what it refuses, what it warns of."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from bench.core.nouns import Outcome
from bench.engine.summarise import metrics_of
from bench.store.record import reasons_against
from bench.store.runs import RunStore
from bench.store.verdicts import images_digest, rows_digest

RUN = ("run", "--threat", "non-adaptive", "--attack", "pgd", "--limit", "60", "--json")


@pytest.fixture
def make(cli):
    """Make a run; its id."""

    def call(*argv: str, code: int = 0) -> str:
        done = cli(*RUN, *argv)
        assert done.code == code, done.err
        return json.loads(done.out)["run_id"]

    return call


@pytest.fixture
def rewrite():
    """Rewrite a run with other rows, as if the judge had produced them."""

    def call(run_id: str, change) -> None:
        folder = RunStore(Path("results")).run(run_id)
        found = folder.read()
        record, rows = found.record, list(found.rows)
        rows = change(rows)
        digests = record.digests.model_copy(update={"data": images_digest(rows), "verdicts": rows_digest(rows)})
        metrics = metrics_of(rows)
        why = reasons_against(record.spec, metrics, record.audit)
        changes = {"digests": digests, "metrics": metrics, "eligible": not why, "ineligible_because": why}
        folder.finish(record.model_copy(update=changes), rows)

    return call


def rows_of(run_id: str):
    return RunStore(Path("results")).run(run_id).read().rows


def test_three_runs(cli, make):
    ids = [make("--defense", d) for d in ("key-lora", "key-full", "plain")]
    done = cli("results", "compare", *ids, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["images"] == 60
    assert [run["defense"] for run in found["runs"]] == ["key-lora", "key-full", "plain"]
    assert set(found["differences"]) >= {"defense", "key.fingerprint"}
    assert "profile.name" not in found["differences"]
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [(ids[0], ids[1]), (ids[0], ids[2]), (ids[1], ids[2])]
    for pair in found["pairs"]:
        a, b = ([r.outcome is Outcome.ROBUST for r in rows_of(pair[name])] for name in "ab")
        assert pair["only_a"] == sum(x and not y for x, y in zip(a, b, strict=True))
        assert pair["only_b"] == sum(y and not x for x, y in zip(a, b, strict=True))
        assert pair["difference"] == pytest.approx((sum(a) - sum(b)) / 60)
        discordant = pair["only_a"] + pair["only_b"]
        assert pair["p_exact"] == pytest.approx(binomtest(pair["only_a"], discordant).pvalue)
        assert pair["p_exact"] <= pair["p_holm"] <= 3 * pair["p_exact"] + 1e-12
    against_plain = found["pairs"][2]
    assert f"higher in {ids[1]} than in {ids[2]}" in against_plain["sentence"]
    assert any("under one key" in text for text in found["warnings"])

    table = cli("results", "compare", *(i[:8] for i in ids))
    for text in (*ids, "p exact", "p Holm", "differs: defense: key-lora (", "only A / only B", "warning: "):
        assert text in table.out


def test_order_of_the_runs_turns_the_sign(cli, make):
    a, b = make("--defense", "key-lora"), make("--defense", "plain")
    (one,) = json.loads(cli("results", "compare", a, b, "--json").out)["pairs"]
    (two,) = json.loads(cli("results", "compare", b, a, "--json").out)["pairs"]
    assert one["difference"] == -two["difference"] > 0
    assert one["difference_interval"] == pytest.approx([-x for x in reversed(two["difference_interval"])])
    assert one["p_exact"] == one["p_holm"] == two["p_exact"]


def test_runs_that_agree_and_a_difference_too_small_to_see(cli, make, rewrite):
    a, b = make("--defense", "plain"), make("--defense", "plain", "--seed", "1")
    lost = Outcome.FOOLED

    def robust(n: int):
        return lambda rows: [replace(r, outcome=Outcome.ROBUST if i < n else lost) for i, r in enumerate(rows)]

    rewrite(a, robust(30))
    rewrite(b, robust(30))
    done = cli("results", "compare", a, b)
    assert "agree on every image" in done.out
    assert "differs: seed: 0 | 1" in done.out
    rewrite(b, lambda rows: robust(31)(rows)[::-1])  # the order of the images is no matter
    (pair,) = json.loads(cli("results", "compare", a, b, "--json").out)["pairs"]
    assert (pair["only_a"], pair["only_b"], pair["p_exact"]) == (0, 1, 1.0)
    assert pair["needed_images"] == 469  # (1.95996 * 0.12910 + 0.84162 * 0.12802)^2 * 3600 = 468.6
    assert "No difference is shown" in pair["sentence"]
    assert "about 469 images are needed" in pair["sentence"]


def test_what_is_unknown_counts_as_not_robust_and_is_said(cli, make, rewrite):
    a, b = make("--defense", "key-lora"), make("--defense", "plain")
    rewrite(
        a,
        lambda rows: [replace(r, outcome=Outcome.ERROR, image_sha256=None) if i < 7 else r for i, r in enumerate(rows)],
    )
    found = json.loads(cli("results", "compare", a, b, "--json").out)
    assert found["runs"][0]["invalid_or_error"] == 7
    assert found["pairs"][0]["both_robust"] + found["pairs"][0]["only_a"] == sum(
        r.outcome is Outcome.ROBUST for r in rows_of(a)
    )
    assert any(f"run {a}: 7 images are INVALID or ERROR" in text for text in found["warnings"])


@pytest.mark.usefixtures("outsiders")
def test_a_record_that_is_not_eligible_is_named(cli, make):
    bad = make("--defense", "plain", "--attack", "out-of-budget", "--protocol", "paper", code=1)
    good = make("--defense", "plain", "--protocol", "paper")
    done = cli("results", "compare", good, bad)
    assert done.code == 0
    assert f"run {bad} is not eligible: " in done.out
    assert f"run {good} is not eligible" not in done.out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--limit", "40"), "the 40 images of run {b} are a part of the 60 of run {a}; expected the same images"),
        (("--protocol", "paper"), "differ in protocol (strict and paper); expected the same"),
        (("--eps", "1/20"), "differ in budget (linf:1/10 and linf:1/20); expected the same"),
        (("--norm", "l2"), "differ in budget (linf:1/10 and l2:3/2); expected the same"),
    ],
)
def test_other_images_protocols_and_budgets_are_refused(cli, make, argv, said):
    a, b = make("--defense", "plain"), make("--defense", "plain", *argv)
    done = cli("results", "compare", a, b)
    assert done.code == 2
    assert said.format(a=a, b=b) in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 77}, "has label "),
        ({"image_sha256": "0" * 64}, "has other pixels in run {a} than in run {b}; expected the same images"),
        ({"image_id": "elsewhere"}, "runs {a} (60 images) and {b} (60 images) have 59 images in common"),
    ],
)
def test_images_that_are_not_the_same_are_refused(cli, make, rewrite, change, said):
    a, b = make("--defense", "key-lora"), make("--defense", "plain")
    rewrite(b, lambda rows: [*rows[:5], replace(rows[5], **change), *rows[6:]])
    done = cli("results", "compare", a, b)
    assert done.code == 2
    assert said.format(a=a, b=b) in done.err


def test_one_run_or_the_same_twice_is_refused(cli, make):
    run_id = make("--defense", "plain")
    for argv, said in (
        ((run_id,), "1 run to compare; expected two or more"),
        ((run_id, run_id[:6]), f"run {run_id} is given twice"),
        ((run_id, "zzz"), "no run 'zzz'"),
    ):
        done = cli("results", "compare", *argv)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
