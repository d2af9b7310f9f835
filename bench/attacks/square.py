"""Square Attack alone, against a source that returns scores and counts queries."""

from __future__ import annotations

import warnings

from pydantic import Field
from torch import Tensor

from bench.attacks.autoattack.conduct import PERIOD_ELSEWHERE, Conduct
from bench.attacks.autoattack.sequence import collected, run_sequence
from bench.attacks.autoattack.types import Finished
from bench.attacks.autoattack.versions import Lengths, build
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Passes
from bench.core.devices import on_host
from bench.core.nouns import Access, Adversary, Batch
from bench.core.plugins import Attack
from bench.core.seeds import seed_of

# Default rows per batch, as for autoattack.
_SLOTS, _SLOTS_ELSEWHERE = 128, 1024
# Queries of an image besides the windows: the clean image, and the start that the windows improve.
_BEFORE = 2


class SquareAttack(Attack):
    """Square Attack (arXiv:1912.00049) from scores only; counts every query of an image and keeps the limit."""

    needs = Access.SCORES
    per_image = True
    norms = frozenset({Norm.LINF, Norm.L2})

    queries: int = Field(5000, ge=_BEFORE + 1, description="maximum queries per image, including the clean image")

    def calls(self, classes: int, budget: Budget) -> Calls:
        """From images fooled at the start to images that survive to the last query."""
        return Calls(Passes(_BEFORE), Passes(self.queries))

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return the highest-loss point for every image that the source classifies correctly; others stay clean.

        One window is tried at a time and an image leaves with the query that fools it, so no query is spent that a
        real attacker would not spend. (On an accelerator it may leave some steps later; meanwhile it repeats another
        image's query.) The source is called in one thread, and never copied.

        Source: arXiv:1912.00049; schedule and draws as in the official code.
        """
        limit = self.queries if adversary.queries is None else min(self.queries, adversary.queries)
        if limit <= _BEFORE:
            warnings.warn(f"square did not run: {limit} queries leave no window to try", stacklevel=2)
            return batch.images.clone()

        def asked(images: Tensor) -> Tensor:  # a plain function, so that the engine calls the source itself
            return adversary.source(images)

        def hashed(image_id: str, attack: str, restart: int) -> int:
            return seed_of(adversary.seed, image_id, attack, restart)

        host = on_host(batch.images.device)
        slots = adversary.batch_size or (_SLOTS if host else _SLOTS_ELSEWHERE)
        conduct = Conduct(slots, keep="best", period=1 if host else PERIOD_ELSEWHERE, ahead=False)
        results: list[Finished] = []
        attacks = build(["square"], adversary.budget, Lengths(queries=limit - _BEFORE))
        adversary.meters.update(run_sequence(attacks, asked, [batch], hashed, conduct, results.append))
        adversary.margins.update({result.guest.id: result.seen for result in results})
        return collected(batch, results)
