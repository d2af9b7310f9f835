from bench.core.plugins import Knowledge, Threat


class Mistyped(Threat):
    """Sees labels alone, if it were spelt right."""

    tier = "T0"
    knows = frozenset({Knowledge.PRETRAINED})
    acces = "labels"

    def source(self, view):
        return view.base()
