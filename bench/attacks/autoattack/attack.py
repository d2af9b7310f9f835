"""AutoAttack on the project's own engine; the official package is :mod:`bench.attacks.autoattack_reference`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.attacks.autoattack.conduct import PERIOD_ELSEWHERE, Conduct
from bench.attacks.autoattack.doubts import doubts_of_model, doubts_of_search
from bench.attacks.autoattack.keeper import Keep
from bench.attacks.autoattack.sequence import Emit, collected, run_sequence
from bench.attacks.autoattack.square import Square
from bench.attacks.autoattack.types import Finished, StepAttack
from bench.attacks.autoattack.versions import LENGTHS, SEQUENCES, Lengths, PartName, Version, build
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls, Meter, Passes
from bench.core.devices import on_host
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.plugins import Attack
from bench.core.seeds import seed_of

# Default rows per batch: larger batches exceed the cache of a CPU; on an accelerator the batch is halved until it fits.
_SLOTS = 128
_SLOTS_ELSEWHERE = 1024


class AutoAttack(Attack, adds=("stream",)):
    """AutoAttack (arXiv:2003.01690) image by image with continuous batching: the official attack at batch size 1."""

    per_image = True
    norms = frozenset({Norm.LINF, Norm.L2})
    precisions = frozenset(Precision)

    version: Version = Field("standard", description="standard, plus, rand, or custom with a list of attacks")
    attacks: tuple[PartName, ...] = Field((), description="the attacks to run, for version custom")
    mode: Literal["first", "budget"] = Field(
        "first",
        description="first: an image is done when fooled; budget: the attack that fools it runs to full length, and "
        "images that the source misclassifies are attacked too",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="budget only: return the last misclassified iterate (official) or the highest-loss one"
    )
    iterations: int = Field(100, ge=1, description="steps of APGD and FAB per run")
    queries: int = Field(5000, ge=1, description="queries of Square")
    targets: int = Field(9, ge=1, description="target classes of APGD-T and FAB-T")
    restarts: int | None = Field(None, ge=1, description="of APGD and untargeted FAB; null: 5 in plus, else 1")

    @model_validator(mode="after")
    def _custom_has_attacks(self) -> AutoAttack:
        if (self.version == "custom") != bool(self.attacks):
            raise ValueError("attacks are given with version custom, and only with it")
        return self

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return candidates with the shape of ``batch.images``; images that no attack fooled stay clean.

        In mode ``budget`` with keep ``best``, unfooled images get their highest-loss point. Source: arXiv:2003.01690.
        """
        results: list[Finished] = []
        said = doubts_of_model(adversary.source, batch.images, averaged=self.version == "rand")
        adversary.meters.update(self.stream(adversary, [batch], results.append))
        for text in (*said, *doubts_of_search(adversary.meters, len(batch))):
            warnings.warn(text, stacklevel=2)
        _tell(adversary.meters)
        for result in results:
            if result.fooled or adversary.precision is Precision.FP32:  # others were not confirmed in float32
                adversary.margins[result.guest.id] = result.seen
        return collected(batch, results)

    def first_part(self) -> AutoAttack | None:
        """The first attack of the sequence, in mode ``first``; its seeds and its length are those of the whole."""
        names = SEQUENCES.get(self.version, self.attacks)
        if self.mode != "first" or self.version == "rand" or len(names) < 2:
            return None  # rand: its first attack is half of it
        restarts = LENGTHS.get(self.version, {}).get("restarts") if self.restarts is None else self.restarts
        own = self.model_dump() | {"version": "custom", "attacks": names[:1], "restarts": restarts}
        return AutoAttack(**own)

    def calls(self, classes: int, budget: Budget) -> Calls:
        """From images fooled at the first attack's first step to images that survive every run.

        In mode ``budget`` the run that fools an image runs to full length, except for Square, which stops. In mode
        ``first`` a misclassified clean image costs one forward. Confirming a claim in float32 costs one more.
        """
        attacks = [attack for attack in self._sequence(budget) if attack.runs(classes)]
        look = Passes(1)
        if not attacks:
            return Calls(look, look)
        first = attacks[0]
        steps = 1 if self.mode == "first" or isinstance(first, Square) else first.steps
        most = sum((a.passes(classes) * (a.runs(classes) * a.steps) for a in attacks), look)
        return Calls(look + first.passes(classes) * steps, most)

    def stream(self, adversary: Adversary, batches: Iterable[Batch], emit: Emit) -> dict[str, Meter]:
        """Attack the images of ``batches``, which are read as needed; ``emit`` gets each image when it is decided.

        Args:
            adversary: Source, budget and seed of the run.
            batches: Read lazily.
            emit: Receives one result per image, in no fixed order.

        Returns:
            What each attack cost.
        """
        attacks = self._sequence(adversary.budget)

        def hashed(image_id: str, attack: str, restart: int) -> int:
            return seed_of(adversary.seed, image_id, attack, restart)

        queue = iter(batches)
        first = next(queue, None)
        if first is None:
            return {}
        conduct = self._conduct(adversary, first.images.device)
        return run_sequence(attacks, adversary.source, chain([first], queue), hashed, conduct, emit)

    def _sequence(self, budget: Budget) -> list[StepAttack]:
        lengths = Lengths(self.iterations, self.queries, self.targets, **LENGTHS.get(self.version, {}))
        lengths = lengths if self.restarts is None else replace(lengths, restarts=self.restarts)
        return build(SEQUENCES.get(self.version, self.attacks), budget, lengths)

    def _conduct(self, adversary: Adversary, device: torch.device) -> Conduct:
        host = on_host(device)
        keep: Keep = "first" if self.mode == "first" else self.keep
        slots = adversary.batch_size or (_SLOTS if host else _SLOTS_ELSEWHERE)
        # Where the first success ends an attack, a misclassified clean image needs no attack.
        misclassified = self.mode == "budget"
        period, threads = (1, torch.get_num_threads()) if host else (PERIOD_ELSEWHERE, 1)
        return Conduct(slots, keep, adversary.precision, misclassified, period, min(threads, slots))


def _tell(meters: dict[str, Meter]) -> None:
    """Warn of everything that the record should mention."""
    for name, meter in meters.items():
        if meter.skipped:
            warnings.warn(f"{name} did not run: its loss needs more classes than the model has", stacklevel=3)
        if meter.halvings:
            warnings.warn(f"{name}: memory ran out and the batch was halved {meter.halvings} times", stacklevel=3)
        if meter.refuted:
            warnings.warn(
                f"{name}: fp32 refuted {meter.refuted} of {meter.claims} images that the search called fooled; "
                f"attacked again in fp32, {meter.recovered} of them were",
                stacklevel=3,
            )
