"""Known adaptive attacks against the findings: robust accuracy before and after each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart, ask, right, spread
from bench.checks.battery.attacking import CheckEffort, black_box, white_box
from bench.checks.battery.bpda import Approximated, fidelity, fitted, reattached, stood_in
from bench.checks.battery.draws import drawn, signs
from bench.checks.battery.ensemble import Average
from bench.checks.battery.exact import more_than
from bench.checks.battery.finding import Answer, Finding, Status, graded
from bench.checks.battery.lab import Lab
from bench.checks.battery.subject import Subject
from bench.core.seeds import seed_of

_CALLS = 16  # averaged for a randomised model; Athalye et al. use 10 to 30
_VOTES = 5  # answers per image, decided by majority
_SMOOTH = 8  # points averaged for a discontinuous model
_MORE = 4  # times the queries of the check
# Findings of gradients that mislead, addressed when they warn as well; those that suggest a gradient of another model.
SHATTERED = ("gradient", "rise", "jumps", "black-box", "large eps")
# Share of the images by which luck may lower the figure: an attack of another kind on an honest model.
_LUCK = 0.03


class MeanAnswer(nn.Module):
    """Expectation over the model's own randomness (EOT): the mean of several calls."""

    def __init__(self, model: nn.Module, calls: int = _CALLS) -> None:
        super().__init__()
        self.model, self.calls, self.training = model, calls, model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        out = torch.stack([self.model(images) for _ in range(self.calls)])
        return out.mean(0)


class Smoothed(nn.Module):
    """The mean over points near each image: a gradient at the scale of the attack for a discontinuous model."""

    def __init__(self, model: nn.Module, moves: Tensor) -> None:
        super().__init__()
        self.model, self._moves, self.training = model, moves, model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``, with the offsets assigned in turn whatever the batch."""
        return torch.stack([self.model((images + move).clamp(0, 1)) for move in self._moves]).mean(0)


class Rescaled(nn.Module):
    """Logits scaled to unit spread; the logarithms of probabilities."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.training = model, model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        out: Tensor = self.model(images).double()
        if bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < 1e-3).all()):
            out = out.clamp(min=1e-300).log()
        return (out / spread(out.detach()).clamp(min=1e-30)[:, None] * 10).float()


@dataclass(frozen=True)
class _Try:
    checks: tuple[str, ...]
    remedy: str
    candidates: Callable[[], Tensor]
    meaning: str


def answers(subject: Subject, findings: Sequence[Finding], effort: CheckEffort | None = None) -> list[Answer]:
    """The adaptive attacks known for the findings, each measured on the subject's images.

    Args:
        subject: The battery's subject.
        findings: The battery's findings.
        effort: The effort of the attacks.

    Returns:
        One answer for each applicable attack, with robust accuracy before and after.
    """
    lab = Lab(subject, effort or CheckEffort())
    bad = {f.check for f in findings if f.status is Status.FAIL}
    seen = bad | {f.check for f in findings if f.status is Status.WARN and f.check in ("ensemble", *SHATTERED)}
    if any(f.check == "outputs" and f.figure is None for f in findings) or not seen:
        return []
    out: list[Answer] = []
    with drawn(lab.seed, lab.batch):
        try:
            before = _standing(lab, white_box(subject.target, lab.batch, lab.budget, lab.seed, lab.effort, _loss(bad)))
        except RuntimeError:
            return []
        for attempt in _tries(lab, seen):
            try:
                after = before & _standing(lab, attempt.candidates())
            except RuntimeError:  # a model that cannot be copied or called in this way has no such answer
                continue
            figures = (float(before.float().mean()), float(after.float().mean()), len(after))
            checks = ", ".join(check for check in attempt.checks if check in seen)
            out.append(Answer(checks, attempt.remedy, *figures, attempt.meaning))
    return [*out, *_exact(lab, seen)]


def _loss(bad: set[str]) -> str:
    """The plain attack, which the fault misleads."""
    return "cross-entropy" if bad & {"saturation", "outputs", "losses"} else "margin"


def _tries(lab: Lab, seen: set[str]) -> Iterator[_Try]:
    def climb(model: nn.Module, loss: str = "margin") -> Callable[[], Tensor]:
        return lambda: white_box(model, lab.batch, lab.budget, lab.seed, lab.effort, loss)

    target = lab.subject.target
    if seen & {"saturation", "losses", "outputs"}:
        checks = ("saturation", "losses", "outputs")
        yield _Try(checks, "margin loss", climb(target), "the margin does not saturate with the size of the logits")
        yield _Try(
            checks,
            "rescaled logits",
            climb(Rescaled(target), "cross-entropy"),
            "cross-entropy of logits scaled to unit spread",
        )
    if "repetition" in seen:
        yield _Try(
            ("repetition",), f"EOT, {_CALLS} calls", climb(MeanAnswer(target)), "the mean over calls has one gradient"
        )
    if seen & set(SHATTERED):
        yield from _shattered(lab, SHATTERED, climb)
    if seen & {"batch", "mode"}:
        quiet = _quiet(target)
        if quiet is not None:
            alone = ask(quiet, lab.batch.images[:1])
            same = bool((apart(alone, ask(quiet, lab.batch.images)[:1]) < SAME).all())
            what = "ignore the batch" if same else "still see the batch: the dependence is not one of training mode"
            yield _Try(("batch", "mode"), "attack in evaluation mode", climb(quiet), f"the copy's layers {what}")


def judged(found: Sequence[Answer]) -> list[Finding]:
    """Whether an adaptive attack lowers the figure of the plain attack by more than luck: then it is no upper bound."""
    if not found:
        return []
    best = min(found, key=lambda answer: answer.after - answer.before)
    fell = round((best.before - best.after) * best.images)
    what = f"the {best.remedy} attack lowers the robust accuracy of {best.images} images from {best.before:.0%} to "
    what += f"{best.after:.0%}"
    fail = best.check != "ensemble" and more_than(fell, best.images, _LUCK)
    tail = "the plain gradient attack does not find what there is" if fail else "no more than luck explains"
    return [graded("adaptive answer", best.before - best.after, f"{what}: {tail}", fail=fail)]


def _shattered(lab: Lab, checks: tuple[str, ...], climb: Callable[[nn.Module], Callable[[], Tensor]]) -> Iterator[_Try]:
    target, batch = lab.subject.target, lab.batch
    if lab.average is not None:
        return
    twin, source = _straight(target, batch.images)
    if twin is not None:
        yield _Try(checks, "BPDA, identity", climb(twin), source)
    if lab.subject.base is not None and ask(lab.subject.base, batch.images[:1]).shape[1] == lab.subject.classes:
        what = "forward unchanged, backward through the undefended model"
        yield _Try(checks, "BPDA, undefended model", climb(Approximated(target, lab.subject.base)), what)
    moves = [0.3 * lab.budget.radius * signs(lab.seed + i, batch.take([0]), "smooth")[0] for i in range(_SMOOTH)]
    smoothed = Smoothed(twin if twin is not None else target, torch.stack(moves))
    yield _Try(checks, "averaged gradient", climb(smoothed), "the gradient at the attack's scale")
    more = replace(lab.effort, queries=_MORE * lab.effort.queries)
    yield _Try(checks, f"Square, {more.queries} queries", lambda: black_box(target, batch, lab.budget, lab.seed, more),
               "queries need no gradient")  # fmt: skip
    batches = [batch] if lab.subject.fresh is None else [batch, lab.subject.fresh]
    try:
        model = fitted(target, lab.subject.base, batches, seed_of(lab.seed, "surrogate"))
    except RuntimeError:  # a model that cannot be copied or called in this way has no surrogate
        return
    agrees = fidelity(target, model, batch.images)
    what = f"a network trained on the answers, which agrees on {agrees:.0%} of the images"
    yield _Try(checks, "fitted surrogate", climb(model), what)
    yield _Try(checks, "BPDA, fitted surrogate", climb(Approximated(target, model)), "backward through that network")


def _straight(target: nn.Module, images: Tensor) -> tuple[nn.Module | None, str]:
    """The target with the identity in the backward pass of its broken steps, and which those are; None if none is."""
    try:
        twin, names = stood_in(target, images)
        if names:
            return twin, f"{', '.join(names[:3])}: forward unchanged, backward the identity"
        x = images[:2].clone().requires_grad_()
        with torch.enable_grad():
            cut = not target(x).requires_grad
        whole = reattached(target, images) if cut else None
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return None, ""
    return whole, "the cut before the network: forward unchanged, backward the identity"


def _exact(lab: Lab, seen: set[str]) -> list[Answer]:
    """A finite random ensemble: the expected robust accuracy, without sampling."""
    if "ensemble" not in seen or lab.average is None:
        return []
    drawn_once = white_box(lab.subject.target, lab.batch, lab.budget, lab.seed, lab.effort, "margin")
    averaged = white_box(lab.average, lab.batch, lab.budget, lab.seed, lab.effort, "margin")
    before, after = (_expected(lab.average, x, lab.batch.labels) for x in (drawn_once, averaged))
    what = "the share of members that are correct, expected over the draw, under an attack on their mean"
    return [Answer("ensemble", "exact average", before, min(before, after), len(lab.batch), what)]


def _expected(average: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Expected accuracy over the draw; with nested members, the accuracy of the average itself."""
    if not isinstance(average, Average):
        return float(right(ask(average, images), labels).float().mean())
    return float(torch.stack([right(ask(m, images), labels).float().mean() for m in average.members]).mean())


def _standing(lab: Lab, candidates: Tensor) -> Tensor:
    """Images that most of several answers classify correctly both clean and attacked, (B,)."""
    target, labels = lab.subject.target, lab.batch.labels
    votes = torch.stack([right(ask(target, candidates), labels) for _ in range(_VOTES)]).float().mean(0)
    clean = torch.stack([right(ask(target, lab.batch.images), labels) for _ in range(_VOTES)]).float().mean(0)
    return (votes > 0.5) & (clean > 0.5)


def _quiet(model: nn.Module) -> nn.Module | None:
    """A copy in evaluation mode; BatchNorm without running statistics is left unchanged."""
    try:
        return copy.deepcopy(model).eval().requires_grad_(False)
    except (RuntimeError, TypeError):
        return None
