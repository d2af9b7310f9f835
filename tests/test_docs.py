"""Documents that are made from the code are up to date."""

from pathlib import Path

import yaml

from bench.store.schema import schema_text

ROOT = Path(__file__).parents[1]


def test_the_record_schema_in_docs_is_the_codes():
    assert (ROOT / "docs" / "record.schema.json").read_text() == schema_text(), "run `make schema`"


def test_every_committed_config_resolves(cli, tmp_path):
    from bench.engine.resolve import Request, resolve
    from bench.store.keyring import Keyring

    configs = sorted((ROOT / "configs").rglob("*.yaml"))
    assert configs
    for path in configs:
        data = yaml.safe_load(path.read_text())
        resolve(Request(**data), Keyring(tmp_path))
