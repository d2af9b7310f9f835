"""`bench plan`: what it says is what a run then costs, and a suite is planned without data, weights or network."""

import json
import os
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[2] / "configs" / "imagenet" / "table1.yaml"
SHORT = "{attack.iterations: 10, attack.targets: 2, attack.queries: 40}"
PLAIN = "defense: plain\nthreat: white-box\n"


@pytest.fixture
def planned(cli):
    """Plan a file without timing anything."""

    def call(path: Path | str, *argv: str) -> dict:
        done = cli("plan", str(path), "--no-measure", "--json", *argv)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return call


@pytest.mark.parametrize("mode", ["first", "budget"])
@pytest.mark.parametrize("stands", [False, True])
def test_calls_bracket_what_a_run_measures(cli, planned, forget_images, mode, stands):
    """A white-box attack that fools every image at eps 0.3, and none at eps 0.0001."""
    eps = "0.0001" if stands else "0.3"
    text = (
        f"{PLAIN}eps: {eps}\nprotocol: paper\nlimit: 100\nset: {SHORT.replace('}', f', attack.mode: {mode}' + '}')}\n"
    )
    Path("c.yaml").write_text(text)
    (run,) = planned("c.yaml")["runs"]
    forget_images()
    record = json.loads(cli("run", "--config", "c.yaml", "--json").out)
    assert record["run_id"] == run["run_id"]
    wrong = 1 - record["metrics"]["source_clean_accuracy"]
    assert record["metrics"]["robust_accuracy"] == pytest.approx(1 - wrong if stands else 0, abs=0.01)
    for kind in ("forwards", "backwards"):
        seen = record["cost"][f"source_{kind}"] / 100
        least, most = run["calls"]["least"][kind], run["calls"]["most"][kind]
        assert least <= seen <= most * 1.03  # Square tries windows ahead where threads leave a batch half empty
        assert seen >= most * (1 - wrong) * 0.98 if stands else seen <= least + 8


def test_a_plan_adds_up(cli, planned):
    Path("c.yaml").write_text(f"{PLAIN}attack: pgd\nlimit: 40\n")
    done = planned("c.yaml", "--on", "h200", "--mfu", "0.5", "--price", "4")
    (run,) = done["runs"]
    assert run["images"] == 40
    assert run["calls"]["least"] == run["calls"]["most"] == {"forwards": 51, "backwards": 51}
    record = json.loads(cli("run", "--config", "c.yaml", "--json").out)
    cost = record["cost"]
    attack = cost["source_forwards"] * cost["flops_forward"] + cost["source_backwards"] * cost["flops_backward"]
    assert run["least"]["flops"] == attack + 5 * 40 * cost["flops_forward"]  # clean, attacked, source; two controls
    for amount in (run["least"], run["most"], done["trainings"][0]["amount"]):
        assert amount["there"] == pytest.approx(amount["flops"] / (67e12 * 0.5))
        assert amount["here"] is None
    (base,) = done["trainings"]
    assert base["name"] == "base vit_tiny_patch16_224"
    whole = done["totals"]
    assert whole["most"]["flops"] == run["most"]["flops"] + base["amount"]["flops"]
    assert whole["cost"][1] == pytest.approx(4 * whole["most"]["there"] / 3600)
    assert whole["images_bytes"] == round(40 * 3 * 32 * 32 * 0.33)  # docs/plan.md
    kept = sum(f.stat().st_size for f in Path(os.environ["BENCH_HOME"], "cache", "models").rglob("*.safetensors"))
    assert base["model_bytes"] <= kept


def test_the_suite_of_table_1_needs_no_data_no_weights_and_no_network(planned, monkeypatch):
    import socket

    def refused(*args, **options):
        raise AssertionError("the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    done = planned(SUITE, "--images", "50000", "--precision", "bf16", "--on", "h200")
    runs = {(run["row"], run["column"]): run for run in done["runs"]}
    assert len(runs) == 78
    assert {run["images"] for run in done["runs"]} == {50_000, 5_000}
    assert runs["swin-l-at", "linf_white_box"]["images"] == 5_000
    owner = runs["plain", "linf_non_adaptive"]
    assert owner["shares"] is None
    for row in ("key-full-p4", "key-full-p8", "key-full-p16", "key-lora-p4", "key-lora-p8", "key-lora-p16"):
        run = runs[row, "linf_non_adaptive"]
        assert run["shares"] == "plain linf_non_adaptive"
        assert run["calls"] == owner["calls"]
        assert run["trains"] == [f"{row.rpartition('-p')[0]} target"]
        assert runs[row, "linf_adaptive"]["shares"] is None
    assert runs["convmixer-partial-p7", "linf_non_adaptive"]["shares"] is None  # another base
    assert runs["key-full-p4", "t0_autoattack"]["shares"] == "plain linf_non_adaptive"  # but not the strict fallback
    fallbacks = 3 + 7  # of such runs, one for each base and substitute
    assert done["totals"]["attacks"] == 78 - 32 + fallbacks
    # protocol strict keeps the fallback's images too
    each = {"linf": 0.33, "l2": 2.6}  # bytes of a value
    made = sum(
        run["images"] * (1 + run["column"].startswith("t")) * each[run["budget"].partition(":")[0]]
        for run in done["runs"]
        if not run["shares"]
    )
    expected = (made + 50_000 * fallbacks * each["linf"]) * 3 * 224 * 224
    assert done["totals"]["images_bytes"] == pytest.approx(expected)
    assert expected < 0.25 * 4 * 3 * 224 * 224 * 50_000 * (done["totals"]["attacks"] + fallbacks)
    by_itself = sum(run["most"]["flops"] for run in done["runs"]) + done["totals"]["training"]["flops"]
    assert done["totals"]["most"]["flops"] < 0.8 * by_itself

    trained = [(t["name"], t["options"].get("block_size"), t["model_bytes"]) for t in done["trainings"]]
    assert len(trained) == len(set(trained)) == 8 * 2
    lora = next(t for t in done["trainings"] if t["name"].startswith("key-lora"))
    assert lora["model_bytes"] == 4 * 1_383_400  # Table II: adapters and head
    assert lora["steps"] * lora["batch_size"] == 20_000 * 512
    assert any("nothing is trained for 9 of 78 runs" in note for note in done["notes"])
    assert 34e9 < _flops_of_forward(owner) < 36e9  # 17.6 GMAC, as timm says of ViT-B/16


def _flops_of_forward(run) -> float:
    """From what the most costs beyond the least: the backward of a ViT is near its forward."""
    more = {kind: run["calls"]["most"][kind] - run["calls"]["least"][kind] for kind in ("forwards", "backwards")}
    flops = (run["most"]["flops"] - run["least"]["flops"]) / run["images"]
    return flops / (more["forwards"] + 1.06 * more["backwards"])


def test_strict_counts_the_fallback_in_the_most_alone(planned):
    text = f"{PLAIN}limit: 10\nset: {SHORT}\n"
    Path("strict.yaml").write_text(text)
    Path("paper.yaml").write_text(text + "protocol: paper\n")
    (strict,), (paper,) = (planned(f"{name}.yaml")["runs"] for name in ("strict", "paper"))
    assert strict["least"]["flops"] == paper["least"]["flops"]
    assert strict["most"]["flops"] > paper["most"]["flops"]
    Path("zero.yaml").write_text(text + "eps: 0\n")
    done = planned("zero.yaml")
    assert done["runs"][0]["calls"]["most"] == {"forwards": 0, "backwards": 0}
    assert done["totals"]["images_bytes"] == done["totals"]["attacks"] == 0


def test_digits_are_counted_and_timed_and_shown(cli):
    Path("c.yaml").write_text("defense: key-lora\nthreat: adaptive\nattack: pgd\n")
    done = cli("plan", "c.yaml", "--on", "v100", "--precision", "bf16", "--price", "1")
    assert done.code == 0, done.err
    for text in ("500", "key-lora substitute 0", "key-lora target", "51", "hours, cpu", "hours, v100", "cost",
                 "has no bf16", "device memory", "disk"):  # fmt: skip
        assert text in done.out
    assert "timing" in done.err
    whole = json.loads(cli("plan", "c.yaml", "--json").out)["totals"]
    assert 0 < whole["least"]["here"] <= whole["most"]["here"]


@pytest.mark.usefixtures("outsiders")
def test_an_attack_that_does_not_say_its_cost_is_unknown(cli, planned):
    Path("c.yaml").write_text(f"{PLAIN}attack: in-place\nlimit: 10\n")
    done = planned("c.yaml")
    assert done["runs"][0]["calls"] is None
    assert done["runs"][0]["most"] is None
    assert not done["totals"]["complete"]
    assert "unknown" in cli("plan", "c.yaml", "--no-measure").out


def test_memory_beyond_the_device_is_warned_of(planned):
    one = SUITE.with_name("key-full-p4.yaml")
    done = planned(one, "--images", "10", "--on", "rtx4090")
    warned = [note for note in done["notes"] if note.startswith("warning")]
    assert any("--micro-batch" in note for note in warned)
    small = planned(one, "--images", "10", "--on", "rtx4090", "--micro-batch", "32")
    assert not any(note.startswith("warning") for note in small["notes"])
    assert small["totals"]["memory"] < done["totals"]["memory"]


@pytest.mark.parametrize(
    ("text", "argv", "said"),
    [
        (PLAIN, ("--on", "h20"), "did you mean h200"),
        (PLAIN, ("--mfu", "2"), "--mfu is 2.0"),
        (PLAIN, ("--device", "cuda:99"), "is not available here"),
        ("defense: [", (), "not readable YAML"),
        ("defense: plain\n", ("--no-measure",), "does not set the threat"),
        (f"{PLAIN}atack: pgd\n", (), "did you mean attack"),
    ],
)
def test_bad_input_is_one_line(cli, text, argv, said):
    Path("c.yaml").write_text(text)
    done = cli("plan", "c.yaml", *argv)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_file_that_is_missing(cli):
    done = cli("plan", "none.yaml")
    assert done.code == 2
    assert "cannot be read" in done.err


def test_a_plan_for_several_workers_is_their_share_and_at_most_a_shard_more(planned):
    Path("c.yaml").write_text(f"{PLAIN}attack: pgd\nlimit: 500\nset: {{profile.shard_size: 25}}\n")
    one = planned("c.yaml", "--on", "h200")["totals"]
    assert one["shared"] is None
    for workers in (2, 3, 64):
        whole = planned("c.yaml", "--on", "h200", "--workers", str(workers))["totals"]
        shared, attack = whole["shared"], one["most"]["there"] - one["training"]["there"]
        assert (shared["workers"], shared["shards"]) == (workers, 20)
        waves = -(-20 // workers)
        assert shared["seconds"][1] == pytest.approx(one["training"]["there"] + attack * waves / 20)
        assert 0 < shared["efficiency"][1] <= 1
