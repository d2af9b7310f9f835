"""The stored adversarial images of a run, located without any model."""

from __future__ import annotations

from torch import Tensor

from bench.core.errors import BenchError, InputError
from bench.core.nouns import Batch, Trained
from bench.core.plugins import Threat
from bench.core.registry import registry
from bench.engine.candidates import Attacker
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.shards import Reader, choose
from bench.store.candidates import CandidateStore
from bench.store.run import Run


class KeptImages:
    """Clean images of a run with their adversarial images.

    Record and verdicts contain everything needed to locate them: the digest of the source and its clean predictions. So
    neither models nor the defender's key are needed.

    Args:
        run: Record and verdicts.
        means: Data, and where the images are stored.

    Raises:
        InputError: if images of the run are not in the data.
    """

    def __init__(self, run: Run, means: Means) -> None:
        spec = run.record.spec
        if spec.estimate is not None:
            raise InputError(
                f"run {run.id} is estimated: its adversarial images are of two attacks; expected a full run"
            )
        split = Making(spec, means).split("test")
        chosen, _ = choose(spec, split, tuple(run.by_id), in_order=True)
        threat: Threat = registry("threats").make(spec.threat.name, spec.threat.options)
        plugins = [spec.attack, *([spec.fallback] if spec.fallback else [])]
        self._reader = Reader(split, chosen, spec.shard_size)
        self._attacker = Attacker(
            spec,
            Trained(_never, run.record.digests.source),
            {plugin.name: registry("attacks").make(plugin.name, plugin.options) for plugin in plugins},
            CandidateStore(means.home.adversarial),
            queries=threat.queries,
            only_kept=True,
            recorded={row.image_id: row.source_prediction for row in run.rows},
        )
        self.shards = range(-(-len(chosen) // spec.shard_size))

    def read(self, index: int) -> tuple[Batch, Tensor]:
        """The readable images of a shard, and their adversarial images (B, C, H, W) float32.

        Raises:
            BenchError: if the adversarial images are not stored.
        """
        batch, _ = self._reader.read(index)
        return batch, self._attacker.attack(batch).images if len(batch) else batch.images


def _never(images: Tensor) -> Tensor:
    raise BenchError(f"the source was called on {len(images)} images; stored images are read without it")
