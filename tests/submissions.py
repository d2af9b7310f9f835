"""An honest run made by hand, and the ways to forge one so that everything but the forgery fits."""

import dataclasses
import hashlib
import io
import json
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.core.canonical import sha256_of
from bench.core.key import Key
from bench.core.nouns import Access, Outcome, Precision, Protocol
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.core.spec import KeySpec, PluginSpec, Spec
from bench.engine.declared import changed_options
from bench.engine.summarise import metrics_of
from bench.store.documents import document_line, document_text
from bench.store.galleries import Gallery, Tile, write_gallery
from bench.store.record import (
    AdversaryAbout,
    Changed,
    Cost,
    Digests,
    Found,
    Provenance,
    Record,
    effective_tier,
    reasons_against,
)
from bench.store.runs import RunFolder
from bench.store.untrusted import RefusedError
from bench.store.verdicts import Row, images_digest, rows_digest, write_rows
from bench.submissions.intake import read_run

SCRIPT = "<script>alert(1)</script>"
R, F, M = Outcome.ROBUST, Outcome.FOOLED, Outcome.MISCLASSIFIED
# label, clean prediction, adversarial prediction, outcome
CASES = [(1, 1, 1, R), (2, 2, 3, F), (3, 4, 4, M), (5, 5, 5, R), (6, 6, 0, F), (7, 7, 7, R)]


def refused(folder) -> str:
    """The field that the intake names."""
    with pytest.raises(RefusedError) as error:
        read_run(folder)
    assert str(error.value) == f"{error.value.field}: {error.value.text}"
    assert "\n" not in str(error.value)
    return error.value.field


def honest_rows(n: int = 24) -> list[Row]:
    """Rows that agree with themselves."""
    out = []
    for i in range(n):
        label, before, after, outcome = CASES[i % len(CASES)]
        sha = hashlib.sha256(str(i).encode()).hexdigest()
        out.append(Row(f"digits-{i:04d}", label, before, after, outcome, 0.0625, "pgd", label, sha))
    return out


def honest_record(rows: list[Row], **changes: Any) -> Record:
    """A record that says what the rows say."""
    honest = Spec(
        profile=load_profile("digits"),
        defense=PluginSpec(name="key-full", options={"transform": "pixel-shuffle", "block_size": 4}),
        threat=PluginSpec(name="non-adaptive"),
        attack=PluginSpec(name="pgd", options={"steps": 50, "restarts": 1, "relative_step": 0.1, "loss": "margin"}),
        fallback=None,
        budget="linf:1/10",
        protocol=Protocol.STRICT,
        precision=Precision.FP32,
        seed=0,
        ids=None,
        limit=len(rows),
        batch_size=100,
        shard_size=100,
        key=KeySpec(fingerprint=Key.from_seed(0, "defender").fingerprint, origin="seed"),
    )
    spec = honest.model_copy(update=changes.pop("spec", {}))
    values: dict[str, Any] = {
        "run_id": spec.run_id,
        "spec": spec,
        "adversary": AdversaryAbout(
            tier="T0",
            knows=["the pre-trained model"],
            access=Access.GRADIENTS,
            queries=None,
            query_budget=None,
            cost="the download of a public model",
            for_transfer=False,
        ),
        "changed": installed_changes(spec),
        "recipe": "full",
        "metrics": metrics_of(rows),
        "notes": ["source: pre-trained model", "3 < 5, a <= b and c & d"],
        "warnings": [],
        "audit": [Found(check="outputs", status="pass", figure=1.0, meaning="finite logits, 0 <= 5")],
        "reliable": True,
        "population": len(rows),
        "digests": Digests(
            data=images_digest(rows), target="a" * 64, source="b" * 64, verdicts=rows_digest(rows)
        ),
        "cost": Cost(
            parts=[], source_forwards=0, source_backwards=0, images_per_second=None, flops_forward=1, flops_backward=1,
            peak_flops=None, mfu=None, attack_seconds=0, total_seconds=1, shards=1, shards_resumed=0, shards_reused=0,
        ),
        "provenance": Provenance(
            started="2026-01-01T00:00:00+00:00", command="bench run", versions={"torch": "2"}, git_commit=None,
            git_dirty=None, platform="Linux x86_64", device="cpu", precision="fp32", threads=1, key_name=None,
        ),
    }  # fmt: skip
    values |= changes
    reasons = reasons_against(honest, values["metrics"], values["audit"])
    values = {
        "tier": effective_tier(honest, values["adversary"], values["digests"]),
        "eligible": not reasons,
        "ineligible_because": reasons,
        **values,
    }
    return Record.model_construct(**values)


def installed_changes(spec: Spec) -> Changed:
    """What the intake expects in ``changed``; nothing of a plug-in that is not installed."""
    told = {}
    for kind, of in (("defense", "defenses"), ("threat", "threats"), ("attack", "attacks"), ("fallback", "attacks")):
        plugin = getattr(spec, kind)
        told[kind] = changed_options(of, plugin) if plugin and plugin.name in registry(of).names() else []
    return Changed(**told)


def write_run(results: Path, rows: list[Row] | None = None, **changes: Any) -> Path:
    """The folder of an honest run, or of one whose rows are forged and whose record says the same."""
    rows = honest_rows() if rows is None else rows
    record = honest_record(rows, **changes)
    folder = results / record.run_id
    folder.mkdir(parents=True)
    write_rows(folder / "verdicts.parquet", rows)
    (folder / "record.json").write_bytes(document_text(document_line(record)))  # as it is, valid or not
    return folder


def add_picture(folder: Path, *, note: str = "") -> None:
    """A picture of a run's first two images, with a text hidden in it."""
    info = PngInfo()
    info.add_text("Comment", note)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "gallery.png", pnginfo=info)
    found = RunFolder(folder).read()
    record, rows = found.record, list(found.rows)
    tiles = [Tile(**{name: getattr(row, name) for name in Tile.model_fields}) for row in rows[:2]]
    gallery = Gallery(
        run_id=record.run_id, verdicts=record.digests.verdicts, picture=sha256_of(folder / "gallery.png"),
        budget=record.spec.budget, scale=10, choice="the first two", caption="two digits", tiles=tiles,
    )  # fmt: skip
    write_gallery(folder, gallery, (folder / "gallery.png").read_bytes())


def unsealed(document: Path | bytes) -> Any:
    """A document's data without the digest of its bytes, which a forger makes again."""
    data = json.loads(document if isinstance(document, bytes) else document.read_bytes())
    data.pop("sha256", None)
    return data


def changed(rows: list[Row], at: int, **values: Any) -> list[Row]:
    """The same rows, one of them otherwise."""
    return [dataclasses.replace(row, **values) if i == at else row for i, row in enumerate(rows)]


def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every text in plain data."""
    if isinstance(data, dict):
        return [p for name, value in data.items() for p in leaves(value, (*path, name))]
    if isinstance(data, list):
        return [p for at, value in enumerate(data) for p in leaves(value, (*path, at))]
    return [path] if isinstance(data, str) else []


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of ``data`` with another value at ``path``."""
    data = json.loads(json.dumps(data))
    at = data
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return data


def members_of(archive: Path) -> dict[str, bytes]:
    """The members of an archive, without its manifest."""
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist() if name != "manifest.json"}


def archive_of(
    path: Path,
    members: dict[str, bytes],
    *,
    manifest: dict[str, Any] | None = None,
    extra: list[tuple[str, bytes]] = (),
    compression: int = zipfile.ZIP_STORED,
    link: str | None = None,
) -> Path:
    """An archive with a manifest that fits its members, except for the caller's forgeries."""
    about = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    named = re.search(rb'"run_id": *"([0-9a-f]{16})"', members.get("record.json", b""))
    run_id = named[1].decode() if named else "0" * 16
    whole = {"schema_version": 1, "kind": "submission", "run_id": run_id, "version": "0", "members": about}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in [*members.items(), *extra]:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = compression
            entry.external_attr = ((stat.S_IFLNK if name == link else stat.S_IFREG) | 0o644) << 16
            file.writestr(entry, data)
        file.writestr("manifest.json", json.dumps({**whole, **(manifest or {})}))
    return path


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """Bytes with one thing in place of another of the same length."""
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


def parquet_bytes(table: Any, **options: Any) -> bytes:
    """A table as a parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()
