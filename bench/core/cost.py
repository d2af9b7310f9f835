"""What an attack cost and how its claims fared."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Meter:
    """Counts of one attack, of images; times in seconds.

    Attributes:
        forwards: Forward passes of images under attack (with and without a graph).
        backwards: Backward passes of images under attack.
        padding: Rows that were evaluated only to keep the batch shape.
        model_seconds: Time in the model.
        seconds: All time, the model's included.
        claims: Images that the search called fooled and that were measured again in float32 on the source itself.
        refuted: Claims that float32 did not confirm.
        recovered: Refuted images that the attack fooled in float32 after all.
        fooled: Images that this attack fooled.
        flat: Images of the attack's first batch whose gradient is zero.
        halvings: How often the batch was halved for want of memory.
        skipped: Images that the attack cannot run on, for want of classes.
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
        """Time spent on anything but the model."""
        return max(self.seconds - self.model_seconds, 0.0)

    def add(self, other: Meter) -> None:
        """Count what ``other`` counted too."""
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
    """What an attack asks of the source for one image: ``least`` where it is fooled at once, ``most`` where it stands.

    An attack says so ahead of a run by a method ``calls(classes, budget)``; without one its cost is unknown.
    """

    least: Passes
    most: Passes
