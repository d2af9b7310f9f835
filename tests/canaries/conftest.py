"""The canaries, installed through the same door as everybody's, on a small base that is trained once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.battery import Answer, CheckEffort, Finding, Subject, answers, battery, quick
from bench.core.budget import Norm
from bench.core.registry import registry
from bench.engine.making import Making
from bench.engine.means import Means
from bench.engine.request import Request
from bench.engine.resolve import resolve
from bench.engine.world import World
from bench.store.home import Home
from bench.store.keyring import Keyring
from bench.store.runs import RunStore
from bench.studies.audit import sources_of, subject_of

PLUGINS = Path(__file__).parent / "plugins"
# A ViT of a tenth of the profile's cost: what is tested are the checks.
SMALL: dict[str, Any] = {
    "profile.base.arguments.embed_dim": 32,
    "profile.base.arguments.depth": 2,
    "profile.base.recipe.steps": 250,
    "profile.recipes.full.steps": 100,
    "profile.recipes.lora.steps": 100,
    "profile.recipes.partial.steps": 100,
}
SHORT = CheckEffort(steps=20, few=5, queries=200, corners=5)
IMAGES = 32


class Lab:
    """Subjects and findings, each made once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._subjects: dict[Any, Subject] = {}
        self._found: dict[Any, dict[str, Finding]] = {}

    def subject(self, defense: str, *, norm: Norm = Norm.LINF, images: int = IMAGES, **settings: Any) -> Subject:
        which = (defense, norm, images, tuple(sorted(settings.items())))
        if which not in self._subjects:
            own = {f"defense.{name}": value for name, value in settings.items()}
            request = Request(defense, "white-box", attack="pgd", norm=norm, settings={**SMALL, **own})
            job = resolve(request, Keyring(self._home / "keys"))
            world = World(Making(job.spec, Means(RunStore(self._home / "results"), Home(self._home))), job.key)
            notes: list[str] = []
            self._subjects[which] = subject_of(world, images, sources_of(world, notes), notes)
            assert not notes
        return self._subjects[which]

    def found(self, defense: str, **how: Any) -> dict[str, Finding]:
        """Findings of the whole battery by check."""
        which = (defense, tuple(sorted(how.items())))
        if which not in self._found:
            self._found[which] = {f.check: f for f in battery(self.subject(defense, **how), SHORT)}
        return self._found[which]

    def quickly(self, defense: str, **how: Any) -> dict[str, Finding]:
        """Findings of the cheap form, 16 images."""
        return {f.check: f for f in quick(self.subject(defense, images=16, **how))}

    def answers(self, defense: str, **how: Any) -> dict[str, Answer]:
        """Adaptive answers by remedy."""
        found = list(self.found(defense, **how).values())
        return {a.remedy: a for a in answers(self.subject(defense, **how), found, SHORT)}


@pytest.fixture(scope="session")
def canaries_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution of canaries, as pip would have left it."""
    site = tmp_path_factory.mktemp("canaries")
    about = site / "canaries-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: canaries\nVersion: 1.0\n")
    shutil.copy(PLUGINS / "entry_points.txt", about)
    for file in PLUGINS.glob("*.py"):
        shutil.copy(file, site)
    return site


@pytest.fixture(autouse=True)
def canaries(canaries_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the canaries, and remove them afterwards."""
    monkeypatch.syspath_prepend(str(canaries_site))
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture(scope="session")
def lab_of_session(shared_home: Path) -> Lab:
    """One for all tests, so that nothing is trained or measured twice."""
    return Lab(shared_home)


@pytest.fixture
def lab(lab_of_session: Lab, home: Path) -> Iterator[Lab]:
    """The session's, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lab_of_session
    torch.set_num_threads(threads)
