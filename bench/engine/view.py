"""One adversary's view of a world."""

from __future__ import annotations

from bench.core.canonical import digest
from bench.core.errors import KnowledgeError
from bench.core.nouns import Access, Trained
from bench.core.plugins import Knowledge, Leak, Threat, Workshop
from bench.engine.query_oracle import QueryOracle
from bench.engine.world import World


class DeclaredView:
    """The world, restricted to what a threat model declared in ``knows``."""

    def __init__(self, world: World, threat: Threat) -> None:
        self._world, self._knows, self._name = world, threat.knows, type(threat).__name__

    def base(self) -> Trained:
        """The undefended pre-trained model."""
        self._need(Knowledge.PRETRAINED)
        return self._world.base

    def substitute(self, guess: int = 0) -> Trained:
        """A model made with the adversary's own key."""
        self._need(Knowledge.MECHANISM)
        return self._world.substitute(guess)

    def key_free(self, draw: int = 0, *, permuted: bool = False) -> Trained:
        """A model made without a key."""
        self._need(Knowledge.MECHANISM)
        return self._world.key_free(draw, permuted=permuted)

    def workshop(self) -> Workshop:
        """Tools to train another model."""
        self._need(Knowledge.PRETRAINED, Knowledge.MECHANISM)
        return self._world.workshop()

    def sibling(self, index: int) -> Trained:
        """A device of the same maker, with its key."""
        self._need(Knowledge.SIBLING)
        return self._world.sibling(index)

    def answers(self, access: Access, limit: int | None = None) -> Trained:
        """The deployed model behind a counter."""
        self._need(Knowledge.QUERIES)
        target = self._world.target
        about = digest({"kind": "answers", "of": target.digest, "access": access})
        return Trained(QueryOracle(target.model, access, limit), about, f"the target's {access}")

    def leaked(self) -> Leak:
        """The deployed model's weights."""
        self._need(Knowledge.WEIGHTS)
        return self._world.leaked()

    def target(self) -> Trained:
        """The deployed model."""
        self._need(Knowledge.TARGET)
        return self._world.target

    def _need(self, *wanted: Knowledge) -> None:
        for what in wanted:
            if what not in self._knows:
                raise KnowledgeError(f"threat {self._name} accessed {what.value}, which it does not declare in `knows`")
