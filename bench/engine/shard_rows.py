"""The rows of a shard's verdicts, and what is kept of its attacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.core.nouns import Outcome, Verdict
from bench.engine.candidates import Candidates
from bench.store.verdicts import Row


def unjudged(image_id: str, label: int) -> Row:
    """The row of an image without verdicts: it cannot be decoded, or its shard cannot be made."""
    return Row(image_id, label, None, None, Outcome.ERROR, None, "none", None, None)


def row_of(image_id: str, label: int, verdict: Verdict, tried: Candidates, i: int, sha: str) -> Row:
    """The row of the image number ``i`` of a shard; ``sha`` is the digest of its pixels."""
    if tried.failed[i]:  # the clean image was judged, so the result of an attack is unknown
        verdict = Verdict(Outcome.ERROR, verdict.clean_prediction, None, None)
    return Row(
        image_id,
        label,
        verdict.clean_prediction,
        verdict.adversarial_prediction,
        verdict.outcome,
        verdict.distance,
        tried.attacks[i],
        tried.source_predictions[i],
        sha,
    )


def about_nothing() -> dict[str, Any]:
    """What a shard without a readable image says of its attacks."""
    return {"meters": [], "seconds": 0.0, "reused": False, "warnings": []}


def about_of(tried: Candidates) -> dict[str, Any]:
    """Cost and warnings of the attacks on a shard, as JSON-like data."""
    return {
        "meters": [{name: asdict(meter) for name, meter in m.meters.items()} for m in tried.made],
        "seconds": round(sum(m.seconds for m in tried.made), 3),
        "reused": bool(tried.made) and all(m.reused for m in tried.made),
        "warnings": list(dict.fromkeys(w for m in tried.made for w in m.warnings)),
    }
