"""From clean images to candidates: run the attacks of the protocol, or read back their results."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.core.canonical import digest
from bench.core.cost import Meter
from bench.core.errors import BenchError, CorruptArtifactError
from bench.core.nouns import Adversary, Batch, Precision, Protocol, Trained
from bench.core.numerics import numerics
from bench.core.plugins import Attack
from bench.core.spec import PluginSpec, Spec
from bench.engine.judge import predict
from bench.engine.query_oracle import QueryOracle
from bench.store.candidates import LABELS_ONLY, CandidateStore, Made


@dataclass(frozen=True)
class Candidates:
    """The images to judge for a shard, and their origin.

    ``images`` (B, C, H, W); ``attacks`` is the attack that made each candidate (``none``: the clean image);
    ``failed`` marks images whose attack raised; ``made`` has one entry for each attack that ran. ``margins`` is what
    the attack saw at each candidate (:attr:`Adversary.margins`), None if it did not report it.
    """

    images: Tensor
    attacks: list[str]
    failed: list[bool]
    source_predictions: list[int | None]
    made: list[Made]
    margins: list[float | None]


class CountedSource(nn.Module):
    """A source that counts the forwards and gradients of images."""

    traceable = True

    def __init__(self, source: Trained) -> None:
        super().__init__()
        self._model, self.forwards, self.backwards = source.model, 0, 0
        self.training = bool(getattr(source.model, "training", False))  # of the wrapper only

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # a recording is counted when it is replayed
            return self._model(images)
        self.forwards += len(images)
        logits = self._model(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class Attacker:
    """Makes candidates from one source, under one Spec.

    Args:
        spec: Attack, fallback, protocol, budget, seed.
        source: The model that the attacks see; its digest is part of every address, nothing of the target is.
        attacks: The plug-ins by name, of the Spec's attack and fallback.
        store: Store of adversarial images.
        queries: Query limit of the source per image; None for no limit.
        only_kept: Read stored images and run nothing.
        recorded: The source's clean predictions by image id, where a run has them; the source is not asked then.
    """

    def __init__(
        self,
        spec: Spec,
        source: Trained,
        attacks: dict[str, Attack],
        store: CandidateStore,
        *,
        queries: int | None = None,
        only_kept: bool = False,
        recorded: Mapping[str, int | None] | None = None,
    ) -> None:
        self._spec, self._source, self._attacks, self._store = spec, source, attacks, store
        self._queries, self._only_kept, self._recorded = queries, only_kept, recorded

    def attack(self, batch: Batch) -> Candidates:
        """Candidates for every image of a shard.

        ``paper``: images that the source misclassifies stay clean. ``strict``: images that the attack returns
        clean (the source was wrong, or robust) go to the fallback.

        Raises:
            BenchError: if only stored images were requested and some are missing.
        """
        spec, n = self._spec, len(batch)
        if self._recorded is None:
            predictions = predict(self._source.model, batch.images, spec.profile.judge_batch)
        else:
            predictions = [self._recorded[image_id] for image_id in batch.ids]
        if spec.budget.eps == 0:  # the ball is a point
            return Candidates(batch.images, ["none"] * n, [False] * n, predictions, [], [None] * n)
        first = self._made(spec.attack, batch)
        images, names, failed, made = first.images, [spec.attack.name] * n, first.failed.tolist(), [first]
        margins = list(first.margins) or [None] * n
        if spec.protocol is Protocol.PAPER:
            wrong = [p != y for p, y in zip(predictions, batch.labels.tolist(), strict=True)]
            images = torch.where(torch.tensor(wrong, device=images.device).view(-1, 1, 1, 1), batch.images, images)
            names = ["none" if w else name for w, name in zip(wrong, names, strict=True)]
            margins = [None if w else margin for w, margin in zip(wrong, margins, strict=True)]
        elif spec.fallback is not None:
            clean = (images == batch.images).flatten(1).all(1).tolist()
            left = [i for i in range(n) if clean[i] and not failed[i]]
            if left:
                second = self._made(spec.fallback, batch.take(left))
                images, made = (
                    images.index_put((torch.tensor(left, device=images.device),), second.images),
                    [first, second],
                )
                for i, bad, margin in zip(left, second.failed.tolist(), second.margins or [None] * n, strict=False):
                    names[i], failed[i], margins[i] = spec.fallback.name, bad, margin
        return Candidates(images, names, failed, predictions, made, margins)

    def _made(self, which: PluginSpec, batch: Batch) -> Made:
        address = self._address(which, batch)
        kept, damage = self._kept(address, batch)
        if kept is None:
            if self._only_kept:
                raise BenchError(f"the adversarial images of {batch.ids[0]} .. {batch.ids[-1]} are not kept "
                                 f"(address {address[:12]}); run the same command again to make them")  # fmt: skip
            kept = self._run(which, batch)
            self._store.write(address, kept, batch.images, self._spec.budget)
            kept = replace(kept, warnings=(*damage, *kept.warnings))
        device = batch.images.device
        return replace(kept, images=kept.images.to(device), failed=kept.failed.to(device))

    def _kept(self, address: str, batch: Batch) -> tuple[Made | None, list[str]]:
        """What is kept, and why it is made again where it is damaged."""
        try:
            return self._store.read(address, batch.images, self._spec.budget), []
        except CorruptArtifactError:
            if self._only_kept:
                raise
            return None, [f"the stored adversarial images at {address[:12]} were damaged; they were made again"]

    def _address(self, which: PluginSpec, batch: Batch) -> str:
        pixels = hashlib.sha256("\n".join(batch.ids).encode())
        pixels.update(batch.images.cpu().numpy().tobytes())
        pixels.update(batch.labels.cpu().numpy().tobytes())
        attack, spec = self._attacks[which.name], self._spec
        threat = {"threat": spec.threat.code} if spec.threat.code else {}  # it made the source
        return digest(
            {
                **threat,
                "attack": which.model_dump(mode="json"),
                "budget": str(spec.budget),
                "images": pixels.hexdigest(),
                "seed": spec.seed,
                "source": self._source.digest,
                "precision": spec.precision,
                "batch_size": None if attack.per_image else spec.batch_size,
                "queries": self._queries,
            }
        )

    def _counted(self, images: int) -> CountedSource | QueryOracle:
        """The source behind a counter; for a queried source, with the limit for this number of images."""
        model = self._source.model
        if isinstance(model, QueryOracle):
            return model.within(self._queries * images if self._queries is not None else None)
        return CountedSource(self._source)

    def _run(self, which: PluginSpec, batch: Batch) -> Made:
        spec, source = self._spec, self._counted(len(batch))
        adversary = Adversary(
            source,
            spec.budget,
            spec.seed,
            batch_size=spec.batch_size,
            precision=spec.precision,
            queries=self._queries,
        )
        own = Batch(batch.ids, batch.images.clone(), batch.labels.clone())  # an attack may write to its input
        images, failed = batch.images, False
        said: dict[str, None] = {}
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught, numerics(Precision.FP32, images.device.type):
            warnings.simplefilter("always")
            try:
                images = _checked(self._attacks[which.name].perturb(adversary, own), batch.images)
            except Exception as error:  # whatever an attack raises, its images are ERROR and the run continues
                failed = True
                said[f"the attack raised {type(error).__name__}: {_line(error)}"] = None
        seconds = time.perf_counter() - began
        said.update({_line(w.message): None for w in caught if issubclass(w.category, UserWarning)})
        asked = (source.asked, 0) if isinstance(source, QueryOracle) else (source.forwards, source.backwards)
        meters = adversary.meters or {which.name: Meter(*asked, seconds=seconds)}
        mask = torch.full((len(batch),), failed, device=batch.images.device)
        seen = () if failed else tuple(_finite(adversary.margins.get(image_id)) for image_id in batch.ids)
        return Made(images, mask, tuple(said), meters, seconds, margins=seen)


def _checked(out: Tensor, clean: Tensor) -> Tensor:
    if out.shape != clean.shape or out.dtype != clean.dtype:
        raise ValueError(f"candidates are {tuple(out.shape)} {out.dtype}, expected {tuple(clean.shape)} {clean.dtype}")
    return out.detach()


def _finite(margin: float | None) -> float | None:
    """A reported margin as a number that JSON can hold; None if it is none."""
    if not isinstance(margin, float) or math.isnan(margin):
        return None
    return max(min(margin, LABELS_ONLY), -LABELS_ONLY)


def _line(what: object) -> str:
    return " ".join(str(what).split())[:300]
