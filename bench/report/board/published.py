"""Published figures as standings of kind "reported": Table I of arXiv:2311.16577 and RobustBench's ImageNet table."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from bench.checks.suites import Scope
from bench.core.canonical import digest
from bench.report.board.facts import fixed_interval
from bench.report.board.model import Badges, Group, Standing
from bench.report.reported import reported

_PROFILE = "imagenet"
_BADGES = Badges(audit="none", verification="reported", eligible=True)
_TIERS = {"white-box": "T5", "non-adaptive": "T0", "adaptive": "T1"}
_FULL_NAMES = {"full": "key-full", "lora": "key-lora", "partial": "key-partial"}
_PAPERS_MODEL = "vit_base_patch16_224"


class _Figure(NamedTuple):
    """A published figure; ``clean`` and ``robust`` are fractions in [0, 1]."""

    defense: str
    title: str
    norm: str
    eps: str
    threat: str
    images: int
    clean: float
    robust: float
    source: str


def reported_standings() -> list[Standing]:
    """A standing for every filled cell of Table I and every row of RobustBench; a figure in both counts once."""
    table, zoo = _table1(), _robustbench()
    out = []
    for figure in zoo:
        same = [cell for cell in table if _same(cell, figure)]
        table = [cell for cell in table if cell not in same]
        both = "; the same figure in ".join([figure.source, *(cell.source for cell in same)])
        out.append(_standing(figure._replace(source=both)))
    return out + [_standing(cell) for cell in table]


def _same(cell: _Figure, zoo: _Figure) -> bool:
    """Table I took its adversarially trained rows from RobustBench: same paper, same figures."""
    cited = cell.source.rpartition("arXiv ")[2]
    return cell.threat == "white-box" and cited in zoo.source and (cell.clean, cell.robust) == (zoo.clean, zoo.robust)


def _table1() -> list[_Figure]:
    return [
        figure
        for row in reported("table1")
        for norm in ("linf", "l2")
        for threat in ("non-adaptive", "adaptive")
        if (figure := _cell(row, norm, threat)) is not None
    ]


def _cell(row: dict[str, str], norm: str, threat: str) -> _Figure | None:
    robust = row[f"{norm}_{threat.replace('-', '_')}"]
    if not robust:
        return None
    white = row["threat_note"].startswith("white-box")
    return _Figure(
        defense=row["row"],
        title=_title(row),
        norm=norm,
        eps=row[f"{norm}_eps"],
        threat="white-box" if white else threat,
        images=int(row["n_images"]),
        clean=_share(row["clean"]),
        robust=_share(robust),
        source=row["source"],
    )


def _title(row: dict[str, str]) -> str:
    """The title of a measured run of the same defense."""
    if row["defense"] != "key":
        return "plain" if row["defense"] == "plain" else f"{row['row']} (adversarially trained {row['architecture']})"
    parts = [_FULL_NAMES[row["fine_tune"]], "pixel-shuffle", f"P = {row['block_size']}"]
    parts += [f"rank {row['lora_rank']}"] if row["lora_rank"] else []
    parts += [f"on {row['architecture']}"] if row["architecture"] != _PAPERS_MODEL else []
    return ", ".join(parts)


def _robustbench() -> list[_Figure]:
    out = []
    for row in reported("robustbench_imagenet_linf"):
        figures = [_share(row["autoattack"]), *([_share(row["external"])] if row["external"] else [])]
        how = "the lower of AutoAttack and an external evaluation" if min(figures) < figures[0] else "AutoAttack"
        venue = row["venue"].replace("<br>", " ")
        source = f"RobustBench, ImageNet, linf, {how}; {venue}, {row['link']}"
        images, clean = int(row["n_images"]), _share(row["clean"])
        out.append(
            _Figure(row["name"], row["name"], "linf", row["eps"], "white-box", images, clean, min(figures), source)
        )
    return out


def _standing(figure: _Figure) -> Standing:
    scope = Scope.WHITE_BOX if figure.threat == "white-box" else Scope.TRANSFER
    eps, adversary = str(Fraction(figure.eps)), f"{figure.threat}: autoattack"
    limits = fixed_interval(round(figure.robust * figure.images), figure.images)
    return Standing(
        standing_id=digest(["reported", *figure])[:12],
        defense=figure.defense,
        title=figure.title,
        group=Group(
            _PROFILE, figure.norm, eps, scope, "paper", f"{figure.images:,} images", "", 1, "reported", adversary
        ),
        images=figure.images,
        keys=1,
        clean=figure.clean,
        robust=figure.robust,
        tries=1,
        best_single=figure.robust,
        interval=limits,
        worst_key=figure.robust,
        source_clean=None,
        adversaries=(adversary,),
        tiers=(_TIERS[figure.threat],),
        first_break=None,
        rank=None,
        rank_interval=None,
        weakest_run=None,
        runs=(),
        source=figure.source,
        badges=_BADGES,
    )


def _share(percent: str) -> float:
    """``59.56`` as 0.5956, exactly as a reader would write it."""
    return float(Fraction(percent) / 100)
