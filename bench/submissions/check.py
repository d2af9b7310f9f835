"""Checks of submitted archives: their content, its validity, and what cannot be checked."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from PIL import Image
from torch import Tensor

from bench.core.errors import BenchError, StorageError
from bench.core.known_images import selection_of
from bench.core.registry import registry
from bench.core.temporary import new_part_folder
from bench.engine.means import Means
from bench.engine.verify import Verification
from bench.engine.versions import check_code
from bench.store.confirmations import write_confirmation
from bench.store.evidence import Confirmation, Evidence
from bench.store.galleries import DOCUMENT, PICTURE, read_gallery, write_gallery
from bench.store.record import Record, write_record
from bench.store.run import Run
from bench.store.runs import RunFolder, RunStore
from bench.store.untrusted import RefusedError, tame
from bench.store.verdicts import write_rows
from bench.submissions.archive_reader import Pack, open_pack
from bench.submissions.deployment import world_of
from bench.submissions.gallery import MOST_BYTES
from bench.submissions.images import check_images, read_images
from bench.submissions.intake import RECORD, VERDICTS, Refusal, read_run, refusal
from bench.submissions.limited import Allowance, LimitedCache
from bench.submissions.rejudge import Rejudged, rejudge

CANNOT = (
    "attack: that the adversarial images come from the stated attack on the stated source: cannot be checked, nor that "
    "a stronger attack was not tried",
    "cost, provenance, notes: as the submitter states them",
)

_NOTHING = Allowance()
_READABLE = stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH  # as folders of runs are


@dataclass
class Checked:
    """Result of checking one archive.

    Attributes:
        archive: Its name.
        run_id: Id of the run in it, None if that could not be read.
        refused: Why it is refused; None if it is accepted.
        checked: What was checked successfully, one line each.
        unchecked: What could not be checked, and why.
        disagreements: Verdicts, digests and checks of the audit that differ here.
        doubts: Why it is not confirmed although nothing differs.
        confirmed: Whether every verdict was confirmed by judging again, and nothing is in doubt.
        written: The folder that it was copied to.
    """

    archive: str
    run_id: str | None = None
    refused: Refusal | None = None
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    confirmed: bool = False
    written: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 a verdict disagreed, 2 refused."""
        return 2 if self.refused else int(bool(self.disagreements))


def check_archive(
    path: Path,
    means: Means,
    *,
    judge: bool = True,
    into: RunStore | None = None,
    allowance: Allowance = _NOTHING,
) -> Checked:
    """Check one archive; this returns whatever it contains.

    Writes only to a temporary folder, under fixed names, and below ``into``; models that it trains are stored only if
    the run is confirmed.

    Args:
        path: The archive.
        means: Folders of models; device.
        judge: Judge its images again if the model is available.
        into: Folder for an accepted run; None for nowhere.
        allowance: What may be trained for it.
    """
    out = Checked(tame(path.name, 120))
    try:
        with open_pack(path) as pack, tempfile.TemporaryDirectory(prefix="bench-check-") as room:
            out.run_id = pack.manifest.run_id
            folder = Path(room) / pack.manifest.run_id
            evidence = _unpacked(pack, folder, out)
            models = LimitedCache(means.home.models, Path(room) / "trained", allowance)
            _judge(pack, evidence, means, models, out, judge=judge)
            if out.confirmed:
                models.keep()
            out.unchecked += CANNOT
            if into is not None and not out.disagreements:
                out.written = _put(evidence, folder, into, out)
    except StorageError:
        raise  # of the local disk
    except Exception as error:  # whatever an archive causes, the others are checked
        out.refused = refusal(path.name, error)
    return out


def confirm(folder: RunFolder, found: Verification) -> Confirmation | None:
    """Confirm a local run whose verdicts all agreed (`bench results verify`).

    None if one did not, and for images that are an own choice.
    """
    run = folder.read()
    if found.disagreements or _chosen(run):
        return None
    return write_confirmation(folder.path, run.record, list(CANNOT))


def _chosen(run: Run) -> bool:
    """Whether a run's images are a list that may have been chosen after seeing results, whatever it calls itself."""
    spec = run.record.spec
    return spec.ids is not None and selection_of(spec.profile.dataset, [row.image_id for row in run.rows]) is None


def _unpacked(pack: Pack, folder: Path, out: Checked) -> Evidence:
    """The members that are files of a run, written under their fixed names and read as an untrusted run."""
    folder.mkdir()
    for name in (RECORD, VERDICTS, DOCUMENT, PICTURE):
        if pack.holds(name):
            (folder / name).write_bytes(pack.read(name))
    evidence = read_run(folder)
    threat = evidence.record.spec.threat.name
    if threat not in registry("threats").names():
        raise RefusedError("spec.threat.name", f"{threat} is not installed here: its tier cannot be checked")
    out.checked.append("archive: members, sizes and SHA-256")
    out.checked.append("record: schema, texts, names, run id")
    out.checked.append(f"verdicts: {len(evidence.rows)} rows, for consistency, against the budget and the protocol")
    out.checked.append("digests of verdicts and data; every figure recomputed from the rows")
    if pack.holds(DOCUMENT) or pack.holds(PICTURE):
        if evidence.gallery is None:
            raise RefusedError("gallery.verdicts", "is of another run or other verdicts")
        out.checked.append("picture: its size, and that its captions agree with the verdicts")
        out.unchecked.append("picture: that it shows these images: cannot be checked")
    return evidence


def _judge(pack: Pack, evidence: Evidence, means: Means, models: LimitedCache, out: Checked, *, judge: bool) -> None:
    spec, rows = evidence.record.spec, evidence.rows
    packed = check_images(pack, spec, rows)
    if packed:
        for name in packed:
            pack.check(name)
        out.checked.append(f"adversarial images: {len(packed)} shards of the declared shape, with their SHA-256")
    if not judge:
        out.unchecked.append("verdicts: not judged again: --no-rejudge")
        return

    @lru_cache(maxsize=1)
    def images(index: int) -> Tensor:
        return read_images(pack, spec, rows, index)

    try:
        found = rejudge(evidence, world_of(spec, means, models), images if packed else None, means)
    except RefusedError:
        raise
    except Exception as why:  # a model broken by the submitted options is not a reason to refuse the figures
        text = str(why) if isinstance(why, BenchError) else f"{type(why).__name__}: {why}"
        out.unchecked.append(f"verdicts: not judged again: {tame(' '.join(text.split()), 300)}")
        return
    _take(found, evidence, out)


def _take(found: Rejudged, evidence: Evidence, out: Checked) -> None:
    out.checked += found.checked
    out.unchecked += found.unchecked
    out.disagreements += [tame(text, 300) for text in found.disagreements]
    out.doubts += [tame(text, 300) for text in found.doubts]
    spec = evidence.record.spec
    if spec.ids and _chosen(evidence):
        out.doubts.append(f"images: list {tame(spec.ids.name, 60)!r} is the submitter's own choice")
    if spec.attack.name not in registry("attacks").names():
        out.doubts.append(f"attack: {spec.attack.name} is not installed here, so the tier is as stated")
    try:
        check_code(spec)
    except BenchError as why:
        out.doubts.append(f"code: {tame(why, 300)}")
    out.confirmed = not out.disagreements and not out.doubts and found.images == len(evidence.rows)


def _put(evidence: Evidence, folder: Path, into: RunStore, out: Checked) -> Path:
    """Copy an accepted run, rewritten from what was read, so that nothing else is copied."""
    record = evidence.record
    there = into.run(record.run_id)
    if known := os.path.lexists(there.path):
        same = False
        with suppress(BenchError):
            same = Run(record, evidence.rows) == there.read()
        if not same:
            raise RefusedError("run_id", f"{record.run_id} is in {into.root} already, with another record")
    else:
        _write(evidence, folder, there, into, out)
    if known and out.confirmed:  # a run that is here already keeps what is known of it
        _mark(there.path, record, out)
    return there.path


def _mark(folder: Path, record: Record, out: Checked) -> None:
    write_confirmation(folder, record, [*out.doubts, *out.unchecked], confirmed=out.confirmed)


def _write(evidence: Evidence, folder: Path, there: RunFolder, into: RunStore, out: Checked) -> None:
    """All of the folder with its mark, or nothing of it: a run from outside is never here without one."""
    try:
        into.root.mkdir(parents=True, exist_ok=True)
        handle, part = new_part_folder(there.path)
    except OSError as error:
        raise StorageError(f"cannot write {into.root}: {error.strerror}; expected a writable folder") from error
    try:
        write_rows(part / VERDICTS, list(evidence.rows))
        write_record(part / RECORD, evidence.record)
        if evidence.gallery is not None:
            _write_gallery(folder, part)
        _mark(part, evidence.record, out)
        os.chmod(part, _READABLE)
        os.rename(part, there.path)
    except OSError as error:
        raise StorageError(f"cannot write {there.path}: {error.strerror}; expected a writable folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)


def _write_gallery(folder: Path, part: Path) -> None:
    """Only the picture's pixels: other content of the PNG is dropped."""
    gallery, picture = read_gallery(folder), io.BytesIO()
    with Image.open(folder / PICTURE, formats=["PNG"]) as image:
        image.load()
        plain = image.copy()
    plain.info = {name: value for name, value in plain.info.items() if name == "transparency"}
    plain.save(picture, "PNG", optimize=True)
    if picture.tell() > MOST_BYTES:
        raise RefusedError(PICTURE, f"has {picture.tell()} bytes when rewritten; expected at most {MOST_BYTES}")
    write_gallery(
        part, gallery.model_copy(update={"picture": hashlib.sha256(picture.getvalue()).hexdigest()}), picture.getvalue()
    )
