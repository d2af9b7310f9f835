"""A subject with the measurements that several checks share, each computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import apart, ask, difference, right, rival, slope, spread, tall
from bench.checks.battery.attacking import CheckEffort, black_box, white_box
from bench.checks.battery.draws import edge
from bench.checks.battery.ensemble import find_average
from bench.checks.battery.finding import Finding, Status
from bench.checks.battery.subject import Subject
from bench.core.ball import project, steepest
from bench.core.budget import Budget, Norm
from bench.core.nouns import Batch

# Gradients and jumps are measured within a tenth of the range of every value, on average: at larger budgets (eps 4
# typed for 4/255) no model behaves like its gradient.
_LOCAL = 0.1
# For a zero budget, the checks measure this far around an image: one step of 8 bits.
_LEAST = Fraction(1, 255)
# Random corners that a step along the gradient must beat, and the share of images on which it must.
_RIVALS, _HELPS = 4, 0.9
_TINY, _TINY_MOVES, _COARSEST = 2.0**-10, 3, 0.005  # moves that measure rounding, in eps
_HALVINGS = 6  # to find where the decision changes on the way to a candidate


@dataclass
class Lab:
    """The shared measurements of the checks.

    ``model`` is what a white-box adversary would attack: the target, or the exact average of its members if it answers
    with a random member. ``excused`` names the checks whose failure is a warning because of a declared approximation.
    """

    subject: Subject
    effort: CheckEffort = field(default_factory=CheckEffort)
    found: dict[str, Finding] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)

    def why_not(self, *checks: str) -> str:
        """Why a comparison of answers would be inconclusive, given the other findings; empty if it is conclusive."""
        told = {
            "outputs": "the output is not logits (see the check of outputs)",
            "repetition": "answers change from call to call (see the check of repetition)",
            "batch": "answers depend on the rest of the batch (see the check of the batch)",
        }
        bad = [told[c] for c in checks if c in self.found and self.found[c].status is Status.FAIL]
        return f"{bad[0]}, so answers cannot be compared" if bad else ""

    @property
    def batch(self) -> Batch:
        """The test images."""
        return self.subject.batch

    @property
    def seed(self) -> int:
        """The seed of all randomness."""
        return self.subject.seed

    @cached_property
    def budget(self) -> Budget:
        """The budget of the evaluation; never zero."""
        budget = self.subject.budget
        return budget if budget.radius > 0 else replace(budget, eps=_LEAST)

    @cached_property
    def local(self) -> Budget:
        """The budget if it is small; otherwise a ball in which an honest model still behaves like its gradient."""
        norm, values = self.budget.norm, self.batch.images[0].numel()
        most = _LOCAL * {Norm.LINF: 1.0, Norm.L2: math.sqrt(values), Norm.L1: float(values)}[norm]
        far = self.budget.radius > most
        return replace(self.budget, eps=Fraction(most).limit_denominator(10**6)) if far else self.budget

    @cached_property
    def average(self) -> nn.Module | None:
        """The target with the average of its members, if it answers with a random member."""
        return find_average(self.subject.target, torch.cat([self.batch.images, self.jittered]))

    @cached_property
    def model(self) -> nn.Module:
        """The attacked model."""
        return self.average or self.subject.target

    @cached_property
    def clean(self) -> Tensor:
        """Answers to the test images, (B, K)."""
        return ask(self.model, self.batch.images)

    @cached_property
    def right(self) -> Tensor:
        """Where they are correct, (B,)."""
        return right(self.clean, self.batch.labels)

    @cached_property
    def rivals(self) -> Tensor:
        """The strongest wrong class of each test image, (B,)."""
        return rival(self.clean, self.batch.labels)

    @cached_property
    def jittered(self) -> Tensor:
        """A random point of each image's ball, off any grid of pixel values."""
        return edge(self.seed, self.batch, "jitter", self.local, 0.3)

    @cached_property
    def slope_nearby(self) -> tuple[Tensor, Tensor]:
        """Answers (B, K) and gradient of the margin (B, C, H, W) at :attr:`jittered`."""
        logits, gradient, _ = slope(self.model, self.jittered, self.batch.labels, self.rivals)
        return logits, gradient

    @cached_property
    def slope_last(self) -> tuple[Tensor, Tensor]:
        """Answers (B, K) and gradient of the margin (B, C, H, W) at :attr:`last_right`."""
        logits, gradient, _ = slope(self.model, self.last_right, self.batch.labels, self.rivals)
        return logits, gradient

    @cached_property
    def rounding(self) -> float:
        """How coarsely answers are rounded, as a share of the spread: float32 about 1e-6, bfloat16 2e-3.

        The larger of two: the change at moves so small that only rounding can matter, median over the images, so that a
        jump somewhere is not taken for rounding; and the precision of half-precision logits. At most 0.005, because no
        model rounds more coarsely.
        """
        moves = [edge(self.seed, self.batch, f"tiny {i}", self.local, _TINY) for i in range(_TINY_MOVES)]
        change = torch.stack([apart(self.clean, ask(self.model, x)) for x in moves]).amax(0).median()
        half = bool((self.clean.bfloat16().float() == self.clean).all())
        grain = (self.clean.abs().amax(1) / spread(self.clean).clamp(min=1e-30)).median() * 2.0**-9 if half else 0.0
        return min(max(float(change), float(grain)), _COARSEST)

    @cached_property
    def towards(self) -> Tensor:
        """A point outside each image's ball, in the direction of the nearest image of another class."""
        own, fresh = self.batch, self.subject.fresh
        images = own.images if fresh is None else torch.cat([own.images, fresh.images])
        labels = own.labels if fresh is None else torch.cat([own.labels, fresh.labels])
        far = torch.cdist(own.images.flatten(1), images.flatten(1))
        far = far.masked_fill(own.labels[:, None] == labels[None], torch.inf)
        way = images[far.argmin(1)] - own.images
        return own.images + 2 * self.local.radius * steepest(way, self.local.norm)

    @cached_property
    def helped(self) -> Tensor:
        """Whether a step of eps along the gradient gains more than the best of several random steps, (B,)."""
        budget, labels = self.local, self.batch.labels
        step = budget.radius * steepest(self.slope_nearby[1].nan_to_num(0.0, 0.0, 0.0), budget.norm)
        gain = self._gain(project(self.jittered + step, self.batch.images, budget), labels)
        best = torch.full_like(gain, -torch.inf)
        for index in range(_RIVALS):
            best = torch.maximum(best, self._gain(edge(self.seed, self.batch, f"rival {index}", budget), labels))
        return gain > best

    @cached_property
    def margin_candidates(self) -> Tensor:
        """Candidates of the gradient attack on the margin for every test image."""
        return white_box(self.model, self.batch, self.budget, self.seed, self.effort, "margin")

    @cached_property
    def margin_fooled(self) -> Tensor:
        """Correctly classified images that the gradient attack on the margin fools, (B,)."""
        return self._fooled(self.margin_candidates)

    @cached_property
    def last_right(self) -> Tensor:
        """Where the gradient attack on the margin stops making progress: the last point before the decision changes.

        For an image that is not fooled, its candidate; the shape is that of the images.
        """
        low = torch.where(self.margin_fooled, 0.0, 1.0)
        high, way = torch.ones_like(low), self.margin_candidates - self.batch.images
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fine = right(ask(self.model, self.batch.images + tall(middle) * way), self.batch.labels)
            low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
        return self.batch.images + tall(low) * way

    @cached_property
    def entropy_fooled(self) -> Tensor:
        """Correctly classified images that the gradient attack on cross-entropy fools, (B,)."""
        return self._fooled(white_box(self.model, self.batch, self.budget, self.seed, self.effort, "cross-entropy"))

    @cached_property
    def white_fooled(self) -> Tensor:
        """Correctly classified images that either attack fools, (B,)."""
        return self.margin_fooled | self.entropy_fooled

    @cached_property
    def square_fooled(self) -> Tensor:
        """Correctly classified images that a query attack fools, (B,)."""
        return self._fooled(black_box(self.model, self.batch, self.budget, self.seed, self.effort))

    @cached_property
    def noise_fooled(self) -> Tensor:
        """Correctly classified images that a random corner of the ball fools, (B,)."""
        out = torch.zeros_like(self.right)
        for index in range(self.effort.corners):
            out |= self._fooled(edge(self.seed, self.batch, f"corner {index}", self.budget))
        return out

    @cached_property
    def transferred(self) -> dict[str, Tensor]:
        """Candidates for every test image from each substitute, by threat."""
        return {
            name: white_box(source, self.batch, self.budget, self.seed, self.effort, "margin")
            for name, source in self.subject.substitutes.items()
        }

    def transfer_fooled(self, name: str) -> Tensor:
        """Correctly classified images that the candidates of one substitute fool, (B,)."""
        return self._fooled(self.transferred[name])

    def declared(self, finding: Finding) -> Finding:
        """Downgrade a failure to a warning if a module declares a ``bpda`` that makes attacks effective."""
        if finding.status is not Status.FAIL:
            return finding
        names = [str(m.bpda) for m in self.subject.target.modules() if isinstance(getattr(m, "bpda", None), str)]
        helps = float(self.helped.float().mean())
        if not names or helps < _HELPS:
            return finding
        more = (
            f"; it declares a backward approximation ({names[0]}), and a step along it beats random ones on {helps:.0%}"
        )
        self.excused.add(finding.check)
        return replace(finding, status=Status.WARN, meaning=finding.meaning + more)

    def _gain(self, images: Tensor, labels: Tensor) -> Tensor:
        return difference(ask(self.model, images), labels, self.rivals)

    def _fooled(self, candidates: Tensor) -> Tensor:
        return self.right & ~right(ask(self.model, candidates), self.batch.labels)
