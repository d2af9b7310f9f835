"""The kinds of forged archives; each is made from an honest one so that everything but the forgery fits."""

import dataclasses
import json
import struct
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from bench.core.errors import BenchError
from bench.core.nouns import Outcome
from bench.core.selection import IdList
from bench.engine.declared import changed_of
from bench.engine.summarise import metrics_of
from bench.store.record import Record, write_record
from bench.store.verdicts import images_digest, read_rows, rows_digest, write_rows
from tests.submissions import archive_of, members_of

SHARD = "adversarial/00000.safetensors"
R = Outcome.ROBUST


class Forger:
    """Forges one honest archive so that everything but the forgery fits.

    Args:
        archive: The honest one.
        path: The forged one.
    """

    def __init__(self, archive: Path, path: Path) -> None:
        self.members, self.path = members_of(archive), path
        self.record = json.loads(self.members["record.json"])
        self.images = load(self.members[SHARD])["images"]
        self.room = path.with_suffix(".d")
        self.room.mkdir()

    def rows(self, change, **also) -> Path:
        """Other rows, with digests and figures that fit; ``also`` goes to the record."""
        (self.room / "verdicts.parquet").write_bytes(self.members["verdicts.parquet"])
        rows = change(read_rows(self.room / "verdicts.parquet")[0])
        record = self.parsed()
        digests = {"verdicts": rows_digest(rows), "data": images_digest(rows), **also.pop("digests", {})}
        record = record.model_copy(
            update={
                "metrics": metrics_of(rows),
                "population": len(rows),
                "digests": record.digests.model_copy(update=digests),
                **also,
            }
        )
        write_rows(self.room / "verdicts.parquet", rows)
        write_record(self.room / "record.json", record)
        return self.done({name: (self.room / name).read_bytes() for name in ("record.json", "verdicts.parquet")})

    def parsed(self) -> Record:
        return Record.model_validate({n: v for n, v in self.record.items() if n != "sha256"})

    def spec(self, **values) -> Path:
        """Another Spec, with its run id; the verdicts are the old ones."""
        spec = self.parsed().spec.model_copy(update=values)
        self.record["spec"], self.record["run_id"] = spec.model_dump(mode="json"), spec.run_id
        with suppress(BenchError):
            self.record["changed"] = changed_of(spec).model_dump(mode="json")
        return self.said()

    def plugin(self, kind: str, **values) -> Path:
        """Another plug-in in the Spec."""
        return self.spec(**{kind: getattr(self.parsed().spec, kind).model_copy(update=values)})

    def said(self) -> Path:
        """The record as it is now."""
        self.record.pop("sha256", None)
        return self.done({"record.json": json.dumps(self.record).encode()})

    def text(self, old: str, new: str) -> Path:
        """The text of the record with one thing in place of another."""
        self.record.pop("sha256", None)
        whole = json.dumps(self.record)
        assert old in whole
        return self.done({"record.json": whole.replace(old, new, 1).encode()})

    def pixels(self, change) -> Path:
        """Other adversarial images."""
        return self.done({SHARD: save({"images": np.ascontiguousarray(change(self.images.copy()))})})

    def done(self, values=None, **forgery) -> Path:
        return archive_of(self.path, {**self.members, **(values or {})}, **forgery)

    def put(self, *path_and_value) -> Path:
        """Another value at a path of the record."""
        *path, name, value = path_and_value
        at = self.record
        for part in path:
            at = at[part]
        at[name] = value
        return self.said()


def all_robust(rows):
    return [dataclasses.replace(r, outcome=R, adversarial_prediction=r.label, clean_prediction=r.label) for r in rows]


def fooled_to_robust(rows):
    return [
        dataclasses.replace(r, outcome=R, adversarial_prediction=r.label) if r.outcome is Outcome.FOOLED else r
        for r in rows
    ]


def one(rows, at=0, **values):
    return [dataclasses.replace(r, **values) if i == at else r for i, r in enumerate(rows)]


def cherry(f: Forger) -> Path:
    """The robust images alone, as a list of ids that calls itself a known one."""
    (f.room / "verdicts.parquet").write_bytes(f.members["verdicts.parquet"])
    rows = read_rows(f.room / "verdicts.parquet")[0]
    keep = [i for i, r in enumerate(rows) if r.outcome is R] or [0, 1]
    kept = [rows[i] for i in keep]
    spec = f.parsed().spec.model_copy(
        update={"ids": IdList.of("robustbench-5000", [r.image_id for r in kept]), "limit": None, "images": None}
    )
    f.members[SHARD] = save({"images": np.ascontiguousarray(f.images[keep])})
    f.record["spec"], f.record["run_id"] = spec.model_dump(mode="json"), spec.run_id
    return f.rows(lambda _: kept)


def other_audit(f: Forger) -> Path:
    """A warning or a skipped check that says pass, and the other way round."""
    found = f.record["audit"][0]
    found["status"] = "warn" if found["status"] == "pass" else "pass"
    return f.said()


def prefixed(f: Forger) -> Path:
    path = f.done()
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    return path


def prefixed_and_moved(f: Forger) -> Path:
    """A program in front, with all positions in the file moved behind it."""
    path, front = f.done(), b"#!/bin/sh\n"
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
    data = bytearray(path.read_bytes())
    at = start
    while data[at : at + 4] == b"PK\x01\x02":
        name, extra, comment = struct.unpack("<HHH", data[at + 28 : at + 34])
        struct.pack_into("<L", data, at + 42, struct.unpack("<L", data[at + 42 : at + 46])[0] + len(front))
        at += 46 + name + extra + comment
    struct.pack_into("<L", data, len(data) - 6, start + len(front))
    path.write_bytes(front + data)
    return path


def appended(f: Forger) -> Path:
    path = f.done()
    path.write_bytes(path.read_bytes() + b"PK\x03\x04")
    return path


def with_gap(f: Forger) -> Path:
    """Bytes between the members and their list."""
    path = f.done()
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
    gap = b"hidden"
    path.write_bytes(data[:start] + gap + data[start:-6] + struct.pack("<L", start + len(gap)) + data[-2:])
    return path


def zip_extra(name):
    def forge(f: Forger) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a name that is there already
            return f.done(extra=[(name, b"{}")])

    return forge


def confirmation(f: Forger) -> bytes:
    digests = f.record["digests"]
    return json.dumps({"schema_version": 1, "kind": "confirmation", "run_id": f.record["run_id"], "images": 24,
                       "verdicts": digests["verdicts"], "version": "0", "unchecked": []}).encode()  # fmt: skip


# Every kind with the archive that it is made from: white, unless named otherwise.
KINDS = {
    "fooled called robust": lambda f: f.rows(fooled_to_robust),
    "fooled called robust, target invented": lambda f: f.rows(fooled_to_robust, digests={"target": "a" * 64}),
    "all rows robust, both digests invented": lambda f: f.rows(
        all_robust, digests={"target": "a" * 64, "source": "a" * 64}),
    "source invented": lambda f: f.put("digests", "source", "b" * 64),
    "target invented": lambda f: f.put("digests", "target", "b" * 64),
    "images chosen after the results": cherry,
    "images left out at the end": lambda f: f.rows(lambda rows: rows[:20]),
    "an image left out in the middle": lambda f: f.rows(lambda rows: rows[:3] + rows[4:]),
    "rows in another order": lambda f: f.rows(lambda rows: rows[::-1]),
    "two rows exchanged": lambda f: f.rows(lambda rows: [rows[1], rows[0], *rows[2:]]),
    "a row twice": lambda f: f.rows(lambda rows: [*rows[:-1], rows[0]]),
    "an image that does not exist": lambda f: f.rows(lambda rows: one(rows, image_id="digits-9999")),
    "another image under the same id": lambda f: f.rows(lambda rows: one(rows, image_sha256="0" * 64)),
    "another label": lambda f: f.rows(
        lambda rows: one(rows, label=(rows[0].label + 1) % 10, outcome=Outcome.MISCLASSIFIED)),
    "a clean prediction invented": lambda f: f.rows(lambda rows: [
        dataclasses.replace(r, clean_prediction=(r.label + 1) % 10, outcome=Outcome.MISCLASSIFIED) if i == 0 else r
        for i, r in enumerate(rows)]),
    "a source prediction invented": lambda f: f.rows(
        lambda rows: one(rows, source_prediction=(rows[0].label + 3) % 10)),
    "distances halved": lambda f: f.rows(lambda rows: [dataclasses.replace(r, distance=r.distance / 2) for r in rows]),
    "a distance just outside": lambda f: f.rows(lambda rows: one(rows, distance=float(np.float32(0.1 + 1e-6)))),
    "a distance of -0": lambda f: f.rows(lambda rows: one(rows, distance=-0.0)),
    "an attack that was not run": lambda f: f.rows(lambda rows: one(rows, attack="autoattack")),
    "an id with a mark of direction": lambda f: f.rows(lambda rows: one(rows, image_id="\u202edigits-0000")),
    "an id with an invisible character": lambda f: f.rows(
        lambda rows: one(rows, image_id=f"{rows[0].image_id}\u200b")),
    "an id with markup": lambda f: f.rows(lambda rows: one(rows, image_id="<img src=x>")),
    "clean images as adversarial ones": lambda f: f.pixels(np.zeros_like),
    "a value that is not a number": lambda f: f.pixels(
        lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.float32(np.nan), x)),
    "a value above 1": lambda f: f.pixels(lambda x: x + np.float32(1e-3)),
    "images in another order": lambda f: f.pixels(lambda x: x[::-1]),
    "images outside the ball by more than rounding": lambda f: f.pixels(
        lambda x: np.clip(x + np.where(x > 0.5, -3e-5, 3e-5).astype(np.float32), 0, 1) * np.float32(0.9999)),
    "audit edited": other_audit,
    "audit emptied": lambda f: f.put("audit", []),
    "audit shortened": lambda f: f.put("audit", f.record["audit"][1:]),
    "a metric edited": lambda f: f.put("metrics", "clean_accuracy", 0.999),
    "an interval edited": lambda f: f.put("metrics", "robust_accuracy_interval", [0.9, 1.0]),
    "eligible against its reasons": lambda f: f.put("ineligible_because", [{"code": "weak-source", "text": "no"}]),
    "another tier": lambda f: f.put("tier", "T0"),
    "another tier of the threat": lambda f: f.put("adversary", "tier", "T0"),
    "more knowledge than the threat has": lambda f: f.put("adversary", "knows", []),
    "another budget": lambda f: f.spec(budget="linf:1/20"),
    "a threat that is not installed": lambda f: f.plugin("threat", name="mine"),
    "an attack that is not installed": lambda f: f.plugin("attack", name="mine"),
    "a defense that is not installed": lambda f: f.plugin("defense", name="mine"),
    "options as text": lambda f: f.plugin(
        "attack", options={**f.record["spec"]["attack"]["options"], "steps": "30"}),
    "code of a plug-in of this package": lambda f: f.plugin("attack", code="c" * 64),
    "another digest of the images": lambda f: f.spec(images="d" * 64),
    "another digest of the training images": lambda f: f.spec(training="d" * 64),
    "a number as text": lambda f: f.text('"population": 24', '"population": "24"'),
    "a number in Arabic digits": lambda f: f.text('"population": 24', '"population": "\u0662\u0664"'),
    "true as a number": lambda f: f.text('"shards": 1', '"shards": true'),
    "a number beyond all": lambda f: f.text('"population": 24', f'"population": {"9" * 400}'),
    "NaN": lambda f: f.text('"population": 24', '"population": NaN'),
    "-0": lambda f: f.text('"shards_resumed": 0', '"shards_resumed": -0.0'),
    "a key twice": lambda f: f.text('"eligible": true', '"eligible": false, "eligible": true'),
    "a field that there is not": lambda f: f.put("confirmed", True),
    "markup in a note": lambda f: f.put("notes", ["<script>alert(1)</script>"]),
    "a mark of direction in a note": lambda f: f.put("notes", ["\u202eabc"]),
    "invisible characters in a note": lambda f: f.put("notes", ["a\U000e0041b"]),
    "an older schema": lambda f: f.put("schema_version", 3),
    "a confirmation of its own": lambda f: f.done(extra=[("confirmation.json", confirmation(f))]),
    "a confirmation in the manifest": lambda f: f.done({"confirmation.json": confirmation(f)}),
    "another folder's member": zip_extra("../evil"),
    "an absolute name": zip_extra("/etc/evil"),
    "Arabic digits in a name": zip_extra("adversarial/\u0660\u0660\u0660\u0660\u0661.safetensors"),
    "a name twice": zip_extra("record.json"),
    "a link": lambda f: f.done(link="record.json"),
    "compressed members": lambda f: f.done(compression=zipfile.ZIP_DEFLATED),
    "bytes before the archive": prefixed,
    "a program before the archive, positions moved": prefixed_and_moved,
    "bytes behind the archive": appended,
    "bytes between members and list": with_gap,
    "a digest of a member invented": lambda f: f.done(manifest={"members": {
        n: {"size": len(d), "sha256": "0" * 64} for n, d in f.members.items()}}),
    "another run's name": lambda f: f.done(manifest={"run_id": "0" * 16}),
}  # fmt: skip
