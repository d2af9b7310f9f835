"""A run as named sections of rows: shown on its page, and compared row by row with another run's."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.board.model import RunPage
from bench.report.site.formats import at_most, limits, percent, value
from bench.store.record import Metrics, Record

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """Rows under one heading.

    Attributes:
        title: The heading.
        rows: Name and value, as text.
        open: Whether it is expanded initially.
    """

    title: str
    rows: Rows
    open: bool = True


def sections(page: RunPage) -> tuple[Section, ...]:
    """All single-valued fields of a record."""
    record = page.evidence.record
    return (
        Section("Figures", _figures(record)),
        Section("Outcomes", tuple((k.value, value(n)) for k, n in record.metrics.outcomes.items())),
        Section("Settings", _setting(record)),
        Section("Adversary", _adversary(page)),
        Section("Options", _options(record), open=False),
        Section("Cost", _cost(record), open=False),
        Section("Provenance", _provenance(record)),
        Section("Digests", tuple(record.digests.model_dump().items())),
    )


def _figures(record: Record) -> Rows:
    metrics = record.metrics
    return (
        ("robust accuracy", at_most(metrics.robust_accuracy)),
        ("95% interval", limits(metrics.robust_accuracy_interval)),
        *((("estimated", metrics.estimate.text),) if metrics.estimate else ()),
        *_further(metrics),
        ("clean accuracy", percent(metrics.clean_accuracy)),
        ("source clean accuracy", percent(metrics.source_clean_accuracy)),
        ("images judged", value(metrics.images)),
        ("images in total", value(record.population)),
    )


def _further(metrics: Metrics) -> Rows:
    """What was measured beside the verdicts."""
    controls = metrics.controls
    named = (
        ("robust accuracy after rounding to 8 bits", metrics.quantized_accuracy),
        ("correct whatever the clean prediction, as the paper counts", metrics.paper_accuracy),
        ("correct under a fresh draw of the member", metrics.expected_accuracy),
        ("control: under another image's perturbation", controls.other if controls else None),
        ("control: under noise of the same size", controls.noise if controls else None),
    )
    return tuple((name, percent(share)) for name, share in named if share is not None)


def _setting(record: Record) -> Rows:
    spec = record.spec
    return (
        ("profile", spec.profile.name),
        ("data set", spec.profile.dataset),
        ("base model", spec.profile.base.architecture),
        ("defense", spec.defense.name),
        ("threat", spec.threat.name),
        ("attack", spec.attack.name),
        ("attack on images returned clean", spec.fallback.name if spec.fallback else "none"),
        ("norm", spec.budget.norm.value),
        ("eps", str(spec.budget.eps)),
        ("protocol", value(spec.protocol)),
        ("seed", str(spec.seed)),
        ("device judged", value(spec.device)),
        ("key fingerprint", spec.key.fingerprint if spec.key else "no key"),
        ("key's origin", spec.key.origin if spec.key else "no key"),
        ("number of images, from the first", value(spec.limit)),
        ("stops at a precision of", "never early" if spec.stop_at is None else f"{spec.stop_at:g} points"),
        ("precision of the search", value(spec.precision)),
    )


def _adversary(page: RunPage) -> Rows:
    who = page.evidence.record.adversary
    return (
        ("tier", page.tier),
        ("tier that the threat declares", who.tier),
        ("attack designed for transfer", value(who.for_transfer)),
        ("knows", value(who.knows)),
        ("source returns", who.access.value),
        ("queries of the target per image", value(who.queries)),
        ("queries of the target in advance", value(who.query_budget)),
        ("cost", who.cost),
    )


def _options(record: Record) -> Rows:
    spec = record.spec
    parts = {"defense": spec.defense, "threat": spec.threat, "attack": spec.attack, "fallback": spec.fallback}
    return tuple((f"{kind}.{k}", value(v)) for kind, p in parts.items() if p for k, v in sorted(p.options.items()))


def _cost(record: Record) -> Rows:
    cost = record.cost
    return (
        ("forward through the source", f"{cost.source_forwards:,} images"),
        ("backward through the source", f"{cost.source_backwards:,} images"),
        ("FLOPs forward per image", value(cost.flops_forward)),
        ("FLOPs backward per image", value(cost.flops_backward)),
        ("images attacked per second", value(cost.images_per_second)),
        ("seconds in attacks", value(cost.attack_seconds)),
        ("seconds in total", value(cost.total_seconds)),
    )


def _provenance(record: Record) -> Rows:
    made = record.provenance
    tree = {None: "", True: ", with uncommitted changes", False: ""}[made.git_dirty]
    return (
        ("started", made.started),
        ("commit", f"{made.git_commit}{tree}" if made.git_commit else "not known"),
        ("device", made.device),
        ("platform", made.platform),
        ("threads", value(made.threads)),
        ("precision of the verdicts", made.precision),
        ("key's name", value(made.key_name)),
        ("called as", made.command),
        *((f"version of {name}", text) for name, text in sorted(made.versions.items())),
    )
