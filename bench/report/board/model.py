"""The content of a leaderboard, as data: standings that may be ranked together, runs, reported rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.checks.suites import Scope
from bench.store.evidence import Evidence

Interval = tuple[float, float]


@dataclass(frozen=True)
class Group:
    """What must be equal for two figures to be ranked together."""

    profile: str
    norm: str
    eps: str  # a fraction, as in a Spec: 4/255
    scope: Scope
    protocol: Literal["strict", "paper"]
    images: str  # "the first 300 test images"
    data: str  # digest of ids, labels and pixels, shortened; empty for reported figures
    keys: int  # deployments that are averaged
    kind: Literal["measured", "stated", "reported"]
    adversary: str = (
        ""  # paper: the one attack, "adaptive: autoattack"; a column of its table. strict: empty, all count
    )

    @property
    def name(self) -> str:
        """Human-readable form."""
        how = f"{self.protocol}, {self.adversary}" if self.adversary else self.protocol
        images = f"{self.images} ({self.data[:6]})" if self.data else self.images
        keys = [f"{self.keys} keys"] if self.keys > 1 else []
        return ", ".join([self.profile, f"{self.norm} {self.eps}", self.scope, how, images, *keys, self.kind])


@dataclass(frozen=True)
class Badges:
    """Evidence for or against a figure.

    Attributes:
        audit: Worst status over the quick audits of its runs: pass, warn, fail, or none if no checks were run;
            ``stated`` if only a submitter says what they found.
        verification: ``confirmed`` if every run was judged again here, ``made here`` if its runs are the local ones,
            ``stated`` for a run from outside that was not confirmed, ``reported`` for a published figure.
        eligible: Whether none of its runs is excluded.
        against: The reasons if not.
        weak_source: Whether a source is so inaccurate that its rows do not support the defense.
        missing: What a rank lacks, one line each: tries of the suite, and choices that may follow from results.
    """

    audit: Literal["pass", "warn", "fail", "none", "stated"]
    verification: Literal["confirmed", "made here", "stated", "reported"]
    eligible: bool
    against: tuple[str, ...] = ()
    weak_source: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """One line of the board: a defense under all adversaries of a scope; figures are fractions in [0, 1].

    Attributes:
        standing_id: 12 hexadecimal digits of the digest of its inputs.
        defense: Name of the plug-in, or the row of a published table.
        title: Human-readable name, with the options that matter.
        group: The group in which it is ranked.
        images: Judged images per key.
        keys: Number of deployments.
        clean: Clean accuracy, mean over keys.
        robust: The worst case of ``tries`` tries an image, mean over keys; an upper bound, by which it is ranked.
        tries: The number of attacks that may each fool an image: those of the suite of the scope, or the runs of a
            deployment where the suite is incomplete; 1 for the paper's protocol.
        best_single: The best single attack: the robust accuracy that the strongest run of a deployment leaves, mean
            over keys.
        interval: 95%, of ``robust``; over keys and images if there are several keys.
        worst_key: Robust accuracy of the worst key, whether or not it is among those averaged.
        source_clean: Smallest and largest accuracy of the sources on clean images; None if not reported.
        adversaries: Its threats with their attacks, "adaptive: transfer".
        tiers: Their tiers, lowest first.
        first_break: The first tier, over all scopes, up to which less than half of the clean accuracy remains.
        rank: Rank in its group by ``robust``; None if it is not eligible, incomplete or only stated.
        rank_interval: Ranks that the intervals allow.
        weakest_run: Id of the run with the lowest figure; None for a reported row.
        runs: Ids of all its runs.
        source: Source of a reported figure.
        badges: See there.
        same: The same for standings of one defense; empty for a reported figure.
        aside: Ids of runs of the same scope that are not in the figure: of deployments with fewer adversaries, or
            with images without a known result.
    """

    standing_id: str
    defense: str
    title: str
    group: Group
    images: int
    keys: int
    clean: float | None
    robust: float
    tries: int
    best_single: float
    interval: Interval
    worst_key: float
    source_clean: Interval | None
    adversaries: tuple[str, ...]
    tiers: tuple[str, ...]
    first_break: str | None
    rank: int | None
    rank_interval: tuple[int, int] | None
    weakest_run: str | None
    runs: tuple[str, ...]
    source: str | None
    badges: Badges
    same: str = ""
    aside: tuple[str, ...] = ()

    @property
    def ranked(self) -> bool:
        """Whether it may have a rank."""
        return self.badges.eligible and not self.badges.missing and self.group.kind != "stated"


@dataclass(frozen=True)
class RungLine:
    """One strict run on the ladder of a deployment, lowest tier first."""

    run_id: str
    tier: str
    threat: str
    attack: str
    robust: float
    interval: Interval
    source_clean: float
    worst_so_far: float


@dataclass(frozen=True)
class Point:
    """One run on a curve against eps."""

    eps: float
    eps_text: str
    robust: float
    interval: Interval
    images: int
    run_id: str


@dataclass(frozen=True)
class Curve:
    """Runs that differ only in eps, smallest first."""

    name: str  # "non-adaptive: autoattack (paper)"
    points: tuple[Point, ...]


@dataclass(frozen=True)
class RunPage:
    """Content of the page of one run, in addition to its record.

    Attributes:
        evidence: The run.
        title: Defense with options that matter, threat, attack, budget.
        tier: Its tier, and whether a plug-in of others only states it.
        command: The exact `bench run` that reproduces it.
        ladder: Strict runs of the same deployment on the same images under the same budget, including this one if it
            is strict.
        curves: Runs of the same deployment under the same norm that differ from this one, or from a rung, only in eps.
    """

    evidence: Evidence
    title: str
    tier: str
    command: str
    ladder: tuple[RungLine, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Board:
    """The complete board. The same runs give the same board."""

    standings: tuple[Standing, ...]
    runs: tuple[RunPage, ...]
