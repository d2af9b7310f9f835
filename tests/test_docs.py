"""Documents that are made from the code are up to date."""

import re
import shlex
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.core import TyperGroup
from typer.main import get_command

from bench.checks.suites import Ran, Scope
from bench.checks.suites import missing as missing_tries
from bench.cli.main import app
from bench.core.budget import Budget, Norm
from bench.core.nouns import Adversary, Batch
from bench.core.plugins.contract import missing
from bench.core.promises import keep_promises
from bench.engine.resolve import resolve
from bench.report.reported import reported
from bench.store.keyring import Keyring
from bench.store.schema import schema_text
from bench.studies.suite import load_suite

ROOT = Path(__file__).parents[1]


def test_the_record_schema_in_docs_is_the_codes():
    assert (ROOT / "docs" / "record.schema.json").read_text() == schema_text(), "run `make schema`"


CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_committed_config_resolves(path, home, tmp_path):
    for run in load_suite(path):
        resolve(run.request, Keyring(tmp_path))


def test_the_paper_has_its_twelve_rows():
    """Every row of the published table is a file, a row of the suite, and the model that the table names."""
    runs = load_suite(ROOT / "configs/imagenet/table1.yaml")
    rows = {row["row"]: row for row in reported("table1")}
    assert {run.row for run in runs} == set(rows)
    assert len(rows) == 12
    for run in runs:
        spec = resolve(run.request, Keyring(Path("none"))).spec
        row = rows[run.row]
        if row["block_size"]:
            assert spec.defense.options["block_size"] == int(row["block_size"])
            assert spec.profile.base.architecture == row["architecture"]
        if row["lora_rank"]:
            assert spec.defense.options["rank"] == int(row["lora_rank"])
        if run.column in row:
            assert row[run.column], f"{run.row} has no {run.column} in the paper"
        assert spec.budget.eps == Fraction(row["l2_eps" if run.column.startswith("l2") else "linf_eps"])
        assert (spec.ids.count if spec.ids else 50_000) == int(row["n_images"])


@pytest.mark.parametrize("profile", ["digits", "imagenet"])
def test_the_strict_columns_are_the_fixed_suites(profile):
    """Every device of a keyed row faces that of transfer, device 0 the others; a row without a key the white box."""
    runs: dict[tuple[str, int], list[Ran]] = {}
    keyed = {}
    for run in load_suite(ROOT / "configs" / profile / "table1.yaml"):
        job = resolve(run.request, Keyring(Path("none")))
        keyed[run.row] = job.spec.key is not None
        if job.spec.protocol == "strict":
            assert job.spec.quantize == 8
            ran = Ran(job.spec, run.request.threat == "white-box")
            runs.setdefault((run.row, job.spec.device), []).append(ran)
    assert len(keyed) == 12
    for (row, device), found in runs.items():
        scopes = [Scope.TRANSFER] * keyed[row] + [Scope.WHITE_BOX] * (device == 0)
        scopes += [Scope.QUERIES] * (device == 0 and keyed[row] and profile == "digits")
        assert not [text for scope in scopes for text in missing_tries(scope, found)], row


def test_the_plugins_of_the_contributors_guide_keep_the_contract():
    """Both are taken verbatim from the text: the attack moves a linear model's images, the transform is tested."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names: dict[str, Any] = {"__name__": "guide"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    attack, transform = names["Fgsm"](), names["BlockShuffle"]()
    assert missing(type(attack)) == missing(type(transform)) == []
    keep_promises("block-shuffle", lambda key: transform.bind(key, block_size=4, image_shape=(3, 16, 24)), (3, 16, 24))
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
    budget = Budget(Norm.LINF, Fraction("0.03"))
    batch = Batch(("a", "b", "c", "d"), images, linear(images).argmax(1))
    moved = attack.perturb(Adversary(linear, budget), batch) - images
    assert 0.029 < moved.abs().max() < 0.031


SCALE = (ROOT / "docs" / "scale.md").read_text()
LINES = [re.sub(r"\s*\\\n\s*", " ", block) for block in re.findall(r"```sh\n(.*?)```", SCALE, re.DOTALL)]
COMMANDS = re.findall(r"^(?:\w+=\S+ |.* -- )?bench (.*?)(?: +#.*)?$", "\n".join(LINES), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_guide_to_many_machines_are_understood(line):
    """Command and flags exist, and the values have their types; nothing is run."""
    command, words = get_command(app), shlex.split(line)
    while isinstance(command, TyperGroup):
        command = command.commands[words.pop(0)]
    assert command.make_context("bench", words).params
