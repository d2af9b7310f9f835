"""A backend of an outsider: every shard in a process of its own, last shard first."""

import multiprocessing

from bench.core.plugins import Backend, Done


class Processes(Backend):
    """One new process per shard, which gets the work as bytes."""

    def map(self, work, items, crew):
        """Outcomes, last item first."""
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            for item in reversed(list(items)):
                yield Done(item, pool.apply(work, (item,)))
