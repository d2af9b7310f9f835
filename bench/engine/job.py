"""The complete input of an evaluation: the Spec, the defender's key and the ids of the images."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.key import Key
from bench.core.spec import Spec


@dataclass(frozen=True)
class Job:
    """One evaluation before it is run.

    Attributes:
        spec: The evaluation, with all defaults written out.
        key: The defender's key; None if the defense has none.
        ids: The ids of the Spec's list of images; None if it has no list.
    """

    spec: Spec
    key: Key | None = None
    ids: tuple[str, ...] | None = None

    @property
    def run_id(self) -> str:
        """The id of the run that this job makes."""
        return self.spec.run_id
