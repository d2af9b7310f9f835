from typing import ClassVar

from bench.core.plugins import Knowledge, Plugin


class Overreaching(Plugin):
    """Claims to know the pre-trained model and takes the target."""

    tier: ClassVar[str] = "T0"
    knows: ClassVar[frozenset] = frozenset({Knowledge.PRETRAINED})

    def source(self, view):
        return view.target()
