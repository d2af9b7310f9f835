"""Checks whether a model keeps state between calls."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bench.checks.battery.asking import SAME, apart, ask, slope
from bench.checks.battery.draws import edge, reach, signs, uniform
from bench.checks.battery.finding import Finding, graded, passed
from bench.checks.battery.lab import Lab
from bench.checks.battery.traces import changed, look

_FRESH = "than from a fresh copy of the model that was asked nothing before"
_NEAR = 0.1  # in eps: distance of a neighbour; its answer must not depend on earlier queries


class StateCheck:
    """Answers and attributes at the start, for comparison after the other checks and attacks, and with a fresh copy.

    The images themselves should not be queried before :meth:`begin`.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._said: list[tuple[str, float]] = []

    def begin(self) -> None:
        """Query neighbours, then the images, then the neighbours again; then other images, with gradients."""
        lab, target = self._lab, self._lab.subject.target
        self._copy = _fresh(lab)
        near = edge(lab.seed, lab.batch, "neighbour", lab.budget, _NEAR)
        before = ask(target, near)
        self._steady = not bool((apart(before, ask(target, near)) > SAME).any())
        self._before = look(target)  # after one call, when lazy modules and shape caches exist
        self._first = ask(target, lab.batch.images)
        self._note("after queries of their neighbours", before, ask(target, near))
        noise = (uniform(lab.seed, lab.batch, "stranger") + 1) / 2
        for other in (noise, lab.batch.images.flip(0), 1 - lab.batch.images):
            self._stir(other)
        self._note("after other images", self._first, ask(target, lab.batch.images))
        self._buffer()

    def end(self) -> Finding:
        """Compare with the start, and with a fresh copy that sees the adversarial images first."""
        lab, target = self._lab, self._lab.subject.target
        self._note("after all the checks", self._first, ask(target, lab.batch.images))
        moved = changed(self._before, look(target))
        if self._copy is not None:
            self._note(_FRESH, ask(self._copy, lab.margin_candidates), ask(target, lab.margin_candidates))
            moved = moved or changed(look(self._copy), look(target))
        weights = [name.partition(" ")[2] for name in moved if name.startswith("weight")]
        when, share = max(self._said, key=lambda pair: pair[1], default=("", 0.0))
        if share:
            held = f" ({moved[0].partition(' ')[2]} changed)" if moved else ""
            which = "adversarial images" if when == _FRESH else "images"
            what = f"{share:.0%} of the {which} get another answer {when}{held}: the model has a hidden state"
            return graded("state", share, what, fail=True)
        if weights:
            what = f"{len(weights)} weights or buffers change when the model is called ({weights[0]} first)"
            return graded("state", float(len(weights)), f"{what}: a hidden state", fail=True)
        if moved and not self._steady:
            held = moved[0].partition(" ")[2]
            what = f"answers change from call to call and {held} with them: the model has a hidden state"
            return graded("state", float(len(moved)), what, fail=True)
        if not self._steady:
            return passed(
                "state", 0.0, "no weight, buffer or attribute changes, although answers change from call to call"
            )
        if moved:
            held = moved[0].partition(" ")[2]
            what = f"{len(moved)} attributes change when the model is called ({held} first), though no answer does"
            return graded("state", float(len(moved)), what, fail=False, warn=True)
        return passed("state", 0.0, "no weight, buffer, attribute or answer changes when the model is called")

    def _note(self, when: str, before: Tensor, after: Tensor) -> None:
        if self._steady:  # otherwise answers change from call to call and cannot reveal state
            self._said.append((when, float((apart(before, after) > SAME).float().mean())))

    def _stir(self, images: Tensor) -> None:
        lab = self._lab
        try:
            slope(lab.subject.target, images, lab.batch.labels, (lab.batch.labels + 1) % lab.subject.classes)
        except RuntimeError:  # a model without gradients is reported by another check
            ask(lab.subject.target, images)

    def _buffer(self) -> None:
        """Reuse the same memory for other images, and check whether the model writes to its input."""
        lab, target = self._lab, self._lab.subject.target
        shelf = lab.batch.images.clone()
        with torch.no_grad():
            target(shelf)
            if not torch.equal(shelf, lab.batch.images):
                self._said.append(("because it writes to its input images", 1.0))
            moved = (lab.batch.images + reach(shelf, lab.budget) * signs(lab.seed, lab.batch, "shelf")).clamp(0, 1)
            there = ask(target, moved)
            shelf.copy_(moved)
            self._note("when the same memory held other images", there, target(shelf).detach().float())


def _fresh(lab: Lab) -> nn.Module | None:
    """The model as it was before any query; None if it can be neither loaded again nor copied."""
    try:
        return lab.subject.again() if lab.subject.again else copy.deepcopy(lab.subject.target)
    except (RuntimeError, TypeError):
        return None
