"""The folder that holds what outlives a run: keyring and caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path


@dataclass(frozen=True)
class Home:
    """``BENCH_HOME``, or the platform's data folder."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The home that the environment names."""
        given = os.environ.get("BENCH_HOME")
        return cls(Path(given).expanduser() if given else user_data_path("keybench"))

    @property
    def keys(self) -> Path:
        """The keyring."""
        return self.root / "keys"

    @property
    def models(self) -> Path:
        """Trained models, by the digest of what they are made from."""
        return self.root / "cache" / "models"

    @property
    def adversarial(self) -> Path:
        """Adversarial images, by the digest of what they are made from."""
        return self.root / "cache" / "adversarial"

    @property
    def indexes(self) -> Path:
        """What lies where in archives of images."""
        return self.root / "cache" / "indexes"
