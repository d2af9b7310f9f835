"""The cost of an attack and the results of its claims."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Meter:
    """Counts for one attack, in images; times in seconds.

    Attributes:
        forwards: Forward passes of images under attack (with and without a graph).
        backwards: Backward passes of images under attack.
        padding: Rows that were evaluated only to keep the batch shape.
        model_seconds: Time in the model.
        seconds: Total time, including the model's.
        claims: Images that the search called fooled and that were confirmed or refuted in float32 on the source.
        refuted: Claims that float32 did not confirm.
        recovered: Refuted images that the attack then fooled in float32.
        fooled: Images that this attack fooled.
        flat: Images of the attack's first batch with zero gradient.
        halvings: Number of times the batch was halved because memory ran out.
        skipped: Images that the attack cannot run on because the model has too few classes.
    """

    forwards: int = 0
    backwards: int = 0
    padding: int = 0
    model_seconds: float = 0.0
    seconds: float = 0.0
    claims: int = 0
    refuted: int = 0
    recovered: int = 0
    fooled: int = 0
    flat: int = 0
    halvings: int = 0
    skipped: int = 0

    @property
    def outside_seconds(self) -> float:
        """Time spent outside the model."""
        return max(self.seconds - self.model_seconds, 0.0)

    def add(self, other: Meter) -> None:
        """Add the counts of ``other``."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class Passes:
    """Passes of one image through the source: forwards, and gradients with respect to the image."""

    forwards: int = 0
    backwards: int = 0

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forwards + other.forwards, self.backwards + other.backwards)

    def __mul__(self, times: int) -> Passes:
        return Passes(self.forwards * times, self.backwards * times)


@dataclass(frozen=True)
class Calls:
    """An attack's source calls per image: ``least`` if fooled at once, ``most`` if the image survives.

    An attack reports them ahead of a run with a method ``calls(classes, budget)``; without it the cost is unknown.
    """

    least: Passes
    most: Passes
