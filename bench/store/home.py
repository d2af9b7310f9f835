"""The folder with everything that outlives a run: keyring and caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from bench.core.paths import expanded


@dataclass(frozen=True)
class Home:
    """``BENCH_HOME``, or the platform's data folder."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The home given by the environment.

        Raises:
            InputError: if it is below the home of an unknown user.
        """
        given = os.environ.get("BENCH_HOME")
        return cls(expanded(Path(given)) if given else user_data_path("keybench"))

    @property
    def keys(self) -> Path:
        """The keyring."""
        return self.root / "keys"

    @property
    def models(self) -> Path:
        """Trained models, by the digest of their inputs."""
        return self.root / "cache" / "models"

    @property
    def adversarial(self) -> Path:
        """Adversarial images, by the digest of their inputs."""
        return self.root / "cache" / "adversarial"

    @property
    def results(self) -> Path:
        """Copies of results that are kept elsewhere, by their URL."""
        return self.root / "cache" / "results"

    @property
    def indexes(self) -> Path:
        """Indexes of image archives."""
        return self.root / "cache" / "indexes"
