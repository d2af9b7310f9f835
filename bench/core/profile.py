"""The world a run lives in, as data: data set, base model, default budgets, recipes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.budget import Budget, Norm, parse_eps
from bench.core.errors import InputError, UnknownNameError
from bench.core.names import suggestion


class Frozen(BaseModel):
    """Strict, immutable data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Augmentation(Frozen):
    """Random affine maps and noise, drawn for each image and step on plain images in [0, 1]."""

    shift: float = Field(0.0, ge=0, description="largest shift, in pixels")
    rotate: float = Field(0.0, ge=0, description="largest rotation, in radians")
    scale: float = Field(0.0, ge=0, lt=1, description="largest relative change of scale")
    noise: float = Field(0.0, ge=0, description="standard deviation of Gaussian pixel noise")


class Recipe(Frozen):
    """One training run: AdamW, one-cycle learning rate, gradient-norm clipping."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    augmentation: Augmentation = Augmentation()


class Base(Frozen):
    """The pre-trained model that defenders and adversaries start from."""

    architecture: str = Field(description="a timm model name")
    arguments: dict[str, Any] = Field(default_factory=dict, description="arguments of timm.create_model")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipe: Recipe = Field(description="how it is pre-trained on the profile's own training split")
    seed: int = 0


class Profile(Frozen):
    """Everything about the world of a run that is not the defense, the threat or the attack."""

    name: str
    summary: str
    dataset: str
    classes: int = Field(ge=2)
    image_shape: tuple[int, int, int]
    base: Base
    budgets: dict[Norm, str] = Field(description="default radius for each norm")
    recipes: dict[str, Recipe] = Field(description="recipes by the kind of fine-tuning: full, lora")
    batch_size: int = Field(ge=1)
    shard_size: int = Field(ge=1)

    def budget(self, norm: Norm) -> Budget:
        """The default budget under ``norm``.

        Raises:
            InputError: the profile gives none.
        """
        if norm not in self.budgets:
            raise InputError(f"profile {self.name} has no default eps for {norm}; expected one: give --eps")
        return Budget(norm, parse_eps(self.budgets[norm]))


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("bench") / "profiles"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """A profile by its name or by the path of a YAML file, with dotted overrides such as ``recipes.lora.steps``.

    Raises:
        UnknownNameError: no such profile or file.
        InputError: the data does not make a profile.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UnknownNameError(
                f"profile file {name!r} is not there; expected a YAML file or one of {profile_names()}"
            )
        text = path.read_text(encoding="utf-8")
    elif name in profile_names():
        text = (resources.files("bench") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise UnknownNameError(f"unknown profile {name!r}{suggestion(name, profile_names())}")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"profile {name!r} is not readable YAML: {' '.join(str(error).split())}") from None
    for dotted, value in (overrides or {}).items():
        _assign(data, dotted, value)
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"profile {name!r}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first complaint of a validation in one line: where, what, and what was given."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "value"
    return f"{where}: {problem['msg'].lower()} (got {str(problem['input'])[:60]!r})"


def _assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for part in path:
        data = data.setdefault(part, {}) if isinstance(data, dict) else {}
    if not isinstance(data, dict):
        raise InputError(
            f"profile setting {dotted!r} does not exist; expected a dotted path such as recipes.lora.steps"
        )
    data[last] = value
