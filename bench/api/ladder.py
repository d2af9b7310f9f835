"""`bench.ladder`: a defense against every applicable adversary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.options import configured, documented, flags_of
from bench.api.progress import listener
from bench.engine.means import Means
from bench.engine.request import Request, Resources
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.ladders import LadderRecord, write_ladder
from bench.studies.ladder import climb, load_ladder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class LadderResult:
    """The result of a defense at every tier.

    Attributes:
        record: The content of ``ladder.json``.
        path: Path of that file.
    """

    record: LadderRecord
    path: Path

    @property
    def rungs(self) -> pd.DataFrame:
        """One row per rung that ran, lowest tier first; accuracies in [0, 1]."""
        import pandas as pd  # noqa: PLC0415 (slow)

        rows = [{**rung.model_dump(mode="json"), "threat": rung.threat.name} for rung in self.record.rungs]
        return pd.DataFrame(rows)

    @property
    def tiers(self) -> pd.DataFrame:
        """One row per tier: the per-image worst case in it and up to it; accuracies in [0, 1]."""
        import pandas as pd  # noqa: PLC0415 (slow)

        return pd.DataFrame([tier.model_dump(mode="json") for tier in self.record.tiers])

    def __repr__(self) -> str:
        record = self.record
        steps = "; ".join(f"{tier.tier} <= {tier.up_to:.1%}" for tier in record.tiers)
        broken = f"first broken by {record.first_break}" if record.first_break else "broken by no tier"
        return (
            f"Ladder {record.ladder_id}: {record.defense.name}, {record.budget}, {record.images} images, clean "
            f"{record.clean_accuracy:.1%}; worst case up to {steps}; {broken}"
        )


@documented(Request, Resources, without=("threat", "attack", "protocol"))
def ladder(
    defense: str, *, rungs: str = "standard", broken_below: float = 0.5, progress: bool = True, **options: Any
) -> LadderResult:
    """Run every tier's threats and attacks on the same images; report each tier and the per-image worst case.

    Args:
        defense: See ``bench list defenses``.
        rungs: Ladder: ``standard``, ``quick``, or a YAML file of rungs.
        broken_below: Share of the clean accuracy below which a defense counts as broken.
        progress: Show progress: bars in a terminal or a notebook, lines elsewhere.
        **options: The options below.

    Raises:
        InputError: if the request cannot be run.
        BenchError: for damaged files or a full disk; finished runs are kept.
    """
    request, resources = configured({"defense": defense, "threat": "", **options})
    argv = ("bench", "ladder", "--ladder", rungs, *flags_of({"defense": defense, **options}))
    with listener(show=progress) as told:
        means = Means.of(resources, told, argv=argv, key_name=request.key)
        keyring = Keyring(Home.default().keys)
        record = climb(load_ladder(rungs), request, keyring, means, broken_below=broken_below)
    return LadderResult(record, write_ladder(means.results.root, record))
