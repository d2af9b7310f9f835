"""Comparison of runs on the same images: whether it is valid, what differs, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from bench.checks.statistics import PairedTable, holm, mcnemar, needed_images, newcombe
from bench.core.errors import InputError
from bench.core.spec import PluginSpec, Spec
from bench.store.run import Run
from bench.studies.tries import Tries, tries

LEVEL = 0.05  # p-values up to this (after Holm's correction for several) count as a difference


@dataclass(frozen=True)
class Pair:
    """Two runs, image by image; ``p_holm`` is ``p`` adjusted for all pairs of the comparison."""

    a: str
    b: str
    table: PairedTable
    interval: tuple[float, float]
    p: float
    p_holm: float

    @property
    def needed(self) -> int | None:
        """Images needed to detect a difference of this size at 80% power, if this one is not significant and not 0."""
        if self.p_holm <= LEVEL or not self.table.difference:
            return None
        return needed_images(self.table.difference, self.table.discordance)

    @property
    def sentence(self) -> str:
        """The result of the pair as a sentence."""
        table, (low, high) = self.table, (100 * x for x in self.interval)
        if not table.discordance:
            return f"{self.a} and {self.b} agree on every image (95% interval {low:+.1f} to {high:+.1f} points)."
        size = f"{100 * abs(table.difference):.1f} points"
        proof = f"(A - B: 95% interval {low:+.1f} to {high:+.1f}; p = {self.p_holm:.2g})"
        if self.p_holm <= LEVEL:
            first, second = (self.a, self.b) if table.difference > 0 else (self.b, self.a)
            return f"Robust accuracy is higher in {first} than in {second}, by {size} {proof}."
        text = f"No difference is shown between {self.a} and {self.b}: {size} {proof}"
        if self.needed is None:
            return f"{text}."
        if self.needed <= table.n:
            return f"{text}; to detect a difference of this size somewhat more than these {table.n} images are needed."
        return f"{text}; to detect a difference of this size about {self.needed:,} images are needed."


@dataclass(frozen=True)
class Difference:
    """A field of the Spec in which the runs differ, with each run's value as text."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Comparison:
    """All pairs of the runs, with notes for the reader."""

    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    tries: tuple[Tries, ...]

    def __repr__(self) -> str:
        lines = [*map(repr, self.runs), *(f"differs: {d.field}: {' | '.join(d.values)}" for d in self.differences)]
        lines += [pair.sentence for pair in self.pairs] + [of.sentence for of in self.tries]
        return "\n".join([*lines, *(f"warning: {w}" for w in self.warnings)])


def compare(runs: Sequence[Run]) -> Comparison:
    """Every pair of runs on the same images: exact McNemar test, paired interval, Holm over the pairs.

    Raises:
        InputError: if the runs cannot be compared; the first reason is given.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} run to compare; expected two or more")
    for run in runs:
        if run.record.spec.estimate is not None:
            raise InputError(f"run {run.id} is estimated: the whole attack has no verdict on every image; "
                             "expected full runs")  # fmt: skip
    for other in runs[1:]:
        _check_spec(runs[0], other)
        _check_images(runs[0], other)
    for a, b in combinations(runs, 2):
        if a.id == b.id:
            raise InputError(f"run {a.id} is given twice; expected different runs")
    tables = [(a.id, b.id, _table(a, b)) for a, b in combinations(runs, 2)]
    p_values = [mcnemar(table) for _, _, table in tables]
    pairs = (
        Pair(a, b, table, newcombe(table), p, adjusted)
        for (a, b, table), p, adjusted in zip(tables, p_values, holm(p_values), strict=True)
    )
    differences = _differences([run.record.spec for run in runs])
    return Comparison(tuple(runs), tuple(pairs), differences, _warnings(runs, differences), tries(runs))


def _table(a: Run, b: Run) -> PairedTable:
    first, second = a.robust, b.robust
    return PairedTable.of(list(first.values()), [second[i] for i in first])


def _check_spec(a: Run, b: Run) -> None:
    """Refuse differences that make two robust accuracies different quantities."""
    for name, what_a, what_b in zip(
        ("protocol", "budget", "data set", "image shape", "preprocessing"),
        _world(a.record.spec),
        _world(b.record.spec),
        strict=True,
    ):
        if what_a != what_b:
            raise InputError(
                f"runs {a.id} and {b.id} differ in {name} ({what_a} and {what_b}); expected the same; "
                "make one of them again"
            )


def _world(spec: Spec) -> tuple[str, ...]:
    profile = spec.profile
    how = profile.preprocessing.model_dump(mode="json", exclude={"name"})  # equal presets may have different names
    done = ", ".join(f"{k} {v}" for k, v in how.items())
    shape = f"{list(profile.image_shape)} and {profile.classes} classes"
    return spec.protocol.value, str(spec.budget), profile.dataset, shape, done


def _check_images(a: Run, b: Run) -> None:
    """Refuse runs with different images: other ids, labels or pixels. Their order may differ."""
    if a.record.digests.data == b.record.digests.data:
        return
    ids_a, ids_b = set(a.by_id), set(b.by_id)
    if ids_a != ids_b:
        raise InputError(f"{_overlap(a, b, len(ids_a & ids_b))}; expected the same images; give both the same --limit "
                         "and --ids")  # fmt: skip
    for i, row in a.by_id.items():
        other = b.by_id[i]
        if row.label != other.label:
            raise InputError(f"image {i} has label {row.label} in run {a.id} and {other.label} in run {b.id}; "
                             "expected the same labels; make both runs on one data set")  # fmt: skip
        known = row.image_sha256 is not None and other.image_sha256 is not None  # None: unreadable, so ERROR
        if known and row.image_sha256 != other.image_sha256:
            raise InputError(f"image {i} has other pixels in run {a.id} than in run {b.id}; expected the same images; "
                             "make both runs on one data set, decoded alike")  # fmt: skip


def _overlap(a: Run, b: Run, common: int) -> str:
    small, large = sorted((a, b), key=lambda run: len(run.rows))
    if common == len(small.rows):
        return f"the {common} images of run {small.id} are a part of the {len(large.rows)} of run {large.id}"
    return f"runs {a.id} ({len(a.rows)} images) and {b.id} ({len(b.rows)} images) have {common} images in common"


def _differences(specs: list[Spec]) -> tuple[Difference, ...]:
    """Every field in which the Specs differ; a plug-in with its options is one field."""
    flat = [_flat(spec) for spec in specs]
    fields = dict.fromkeys(name for values in flat for name in values)
    rows = ((name, tuple(values.get(name, "none") for values in flat)) for name in fields)
    return tuple(Difference(name, values) for name, values in rows if len(set(values)) > 1)


def _flat(spec: Spec) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, PluginSpec):
            options = ", ".join(f"{k}={v}" for k, v in value.options.items())
            flat[name] = f"{value.name} ({options})" if options else value.name
        elif hasattr(value, "model_dump"):
            flat.update(_leaves(name, value.model_dump(mode="json")))
        elif value is not None:
            flat[name] = str(value)
    return flat


def _leaves(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {name: str(value)}
    out: dict[str, str] = {}
    for key, inner in value.items():
        out |= _leaves(f"{name}.{key}", inner)
    return out


def _warnings(runs: Sequence[Run], differences: tuple[Difference, ...]) -> tuple[str, ...]:
    said = []
    for run in runs:
        said += [f"run {run.id} is not eligible: {why.text}" for why in run.record.ineligible_because]
        if run.unknown:
            said.append(f"run {run.id}: {run.unknown} images are INVALID or ERROR and count as not robust")
    subjects = [d.field for d in differences if d.field in ("defense", "threat", "attack", "precision")]
    if len(subjects) > 1:
        said.append(f"the runs differ in {' and '.join(subjects)}: the difference cannot be attributed to one of them")
    if any(run.record.spec.key is not None for run in runs):
        said.append("a keyed defense is judged under one key: the intervals are over images, not over keys")
    return tuple(said)
