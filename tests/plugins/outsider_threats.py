from bench.core.plugins import Knowledge, Threat


class Overreaching(Threat):
    """Claims to know the pre-trained model and takes the target."""

    tier = "T0"
    knows = frozenset({Knowledge.PRETRAINED})

    def source(self, view):
        return view.target()
