"""The official AutoAttack package, unmodified."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field, model_validator
from torch import Tensor, nn

from bench.attacks.autoattack.versions import SEQUENCES, PartName, Version
from bench.attacks.reference_calls import reference_calls
from bench.core.budget import Budget, Norm
from bench.core.cost import Calls
from bench.core.devices import forked_random
from bench.core.nouns import Adversary, Batch, Precision
from bench.core.plugins import Attack
from bench.core.seeds import seed_of

_NORMS = {Norm.LINF: "Linf", Norm.L2: "L2", Norm.L1: "L1"}


class AutoAttackReference(Attack):
    """The official AutoAttack package (standard, plus, rand, custom); images it cannot fool are returned clean."""

    # Its random start is drawn for the whole batch, and Square moves one window over all images.
    per_image = False
    norms = frozenset(Norm)
    precisions = frozenset({Precision.FP32})
    package = "pyautoattack"

    version: Version = "standard"
    attacks: tuple[PartName, ...] = Field((), description="the parts to run, for version custom")

    @model_validator(mode="after")
    def _parts_with_custom(self) -> AutoAttackReference:
        if (self.version == "custom") != bool(self.attacks):
            raise ValueError("attacks= is only valid, and required, with version=custom")
        return self

    def calls(self, classes: int, budget: Budget) -> Calls:
        """From images fooled by the first run of the first attack to images that survive all."""
        parts = SEQUENCES.get(self.version, self.attacks)
        return reference_calls(parts, self.version, budget.norm, classes)

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Return images that fool the source, and clean ones where the source was wrong or robust.

        Source: Croce and Hein, arXiv:2003.01690; package pyautoattack.
        """
        from pyautoattack import AutoAttack as Official  # noqa: PLC0415 (an extra)

        device = str(batch.images.device)
        size = adversary.batch_size or len(batch)
        with forked_random(batch.images.device), _warnings_of("auto-attack"):
            official = Official(
                _AsModule(adversary.source),
                norm=_NORMS[adversary.budget.norm],
                eps=adversary.budget.radius,
                seed=seed_of(adversary.seed, batch.ids[0], "autoattack-reference") % 2**32,
                version=self.version,
                attacks=list(self.attacks) or None,
                device=device,
            )
            candidates: Tensor = official.run_standard_evaluation(batch.images, batch.labels, batch_size=size)[0]
        return candidates


class _AsModule(nn.Module):
    """Wraps the source, which is any callable, as the module that the package expects."""

    def __init__(self, source: object) -> None:
        super().__init__()
        self._source = source

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self._source(images)  # type: ignore[operator]
        return logits


@contextmanager
def _warnings_of(logger: str) -> Iterator[None]:
    """Convert warnings that the package logs into Python warnings, so that the record can store them."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.warn(record.getMessage(), stacklevel=2)

    handler = Forward(logging.WARNING)
    log = logging.getLogger(logger)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
