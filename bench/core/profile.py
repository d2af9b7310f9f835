"""The setting of a run, as data: data set, base model, default budgets, recipes."""

from __future__ import annotations

import copy
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bench.core.budget import Budget, Norm, parse_eps
from bench.core.errors import InputError, UnknownNameError
from bench.core.frozen import Frozen, unset
from bench.core.names import suggestion
from bench.core.preprocessing import CropMode, Interpolation, Preprocessing, preset
from bench.core.yaml_text import parse_yaml, read_yaml

Channels = Annotated[int, Field(ge=1, le=16)]
Side = Annotated[int, Field(ge=1, le=4096)]


class Augmentation(Frozen):
    """Random augmentation per image and step, on plain images: the crop when reading, the rest on the device."""

    crop: tuple[float, float] | None = Field(
        None, description="inception crop: smallest and largest share of the area; null for the test preprocessing"
    )
    aspect: tuple[float, float] = Field((3 / 4, 4 / 3), description="of an inception crop, width over height")
    flip: float = Field(0.0, ge=0, le=1, description="probability of a horizontal flip")
    shift: float = Field(0.0, ge=0, description="largest shift, in pixels")
    rotate: float = Field(0.0, ge=0, description="largest rotation, in radians")
    scale: float = Field(0.0, ge=0, lt=1, description="largest relative change of scale")
    noise: float = Field(0.0, ge=0, description="standard deviation of Gaussian pixel noise")


class Recipe(Frozen):
    """One training run: optimizer, learning rate over the steps, gradient-norm clipping."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="of one step, over all devices; reached by accumulation if needed")
    learning_rate: float = Field(gt=0, description="the highest")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["one-cycle", "cosine"] = "one-cycle"
    warmup: int = Field(0, ge=0, description="steps of linear warm-up before the cosine")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the forward and backward; weights are float32")
    subset: float = Field(1.0, gt=0, le=1, description="share of the training images of every class")
    augmentation: Augmentation = Augmentation()


class Base(Frozen):
    """A pre-trained model: timm's weights ``pretrained``, or trained locally by ``recipe``, or both in turn."""

    architecture: str = Field(description="a timm model name")
    arguments: dict[str, Any] = Field(default_factory=dict, description="arguments of timm.create_model")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_share: float = Field(1.0, gt=0, le=1, description="timm's crop_pct: side cropped over side resized to")
    crop_mode: CropMode | None = Field(
        None, exclude_if=unset, description="timm's: squash or border; left out for its usual one, the centre"
    )
    interpolation: Interpolation = "bicubic"
    recipe: Recipe | None = Field(None, description="how it is pre-trained on the profile's own training split")
    pretrained: str | None = Field(None, description="timm's tag of the weights, e.g. augreg2_in21k_ft_in1k")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of the weights file; null: any file")
    classes: int | None = Field(None, ge=2, description="classes of the weights, if a new head replaces theirs")
    seed: int = 0

    @model_validator(mode="after")
    def _an_origin(self) -> Base:
        if self.recipe is None and self.pretrained is None:
            raise ValueError("expected a recipe, the tag of pretrained weights, or both")
        return self

    @property
    def name(self) -> str:
        """The architecture with the tag of its weights."""
        return f"{self.architecture}.{self.pretrained}" if self.pretrained else self.architecture


class Profile(Frozen):
    """All settings of a run except the defense, the threat and the attack."""

    name: str
    summary: str
    dataset: str
    classes: int = Field(ge=2)
    image_shape: tuple[Channels, Side, Side]
    preprocessing: Preprocessing = Preprocessing(name="none")
    base: Base = Field(description="the undefended model, which a non-adaptive adversary attacks")
    start: Base | None = Field(None, description="starting model of fine-tuning; null: the base itself")
    budgets: dict[Norm, str] = Field(description="default radius for each norm")
    recipes: dict[str, Recipe] = Field(description="recipes by the kind of fine-tuning: full, lora, partial")
    train_on_demand: bool = Field(True, description="bench run trains missing models; otherwise bench train must")
    batch_size: int = Field(ge=1)
    shard_size: int = Field(ge=1)
    judge_batch: int = Field(64, ge=1, description="images in every forward of the judge; the last one is padded")

    def budget(self, norm: Norm) -> Budget:
        """The default budget under ``norm``.

        Raises:
            InputError: if the profile has none.
        """
        if norm not in self.budgets:
            raise InputError(f"profile {self.name} has no default eps for {norm}; expected one: give --eps")
        return Budget(norm, parse_eps(self.budgets[norm]))


def profile_names() -> list[str]:
    """Names of the built-in profiles."""
    folder = resources.files("bench") / "profiles"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """A profile by name or YAML file, with dotted overrides such as ``recipes.lora.steps``.

    Raises:
        UnknownNameError: if there is no such profile or file.
        InputError: if the data is not a valid profile.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UnknownNameError(
                f"profile file {name!r} does not exist; expected a YAML file or one of {profile_names()}"
            )
        data = read_yaml(path, f"profile {name!r}")
    elif name in profile_names():
        data = copy.deepcopy(_packaged(name))
    else:
        raise UnknownNameError(f"unknown profile {name!r}{suggestion(name, profile_names())}")
    if not isinstance(data, dict):
        raise InputError(f"profile {name!r} holds {type(data).__name__}; expected a mapping, as in bench/profiles")
    for dotted, value in (overrides or {}).items():
        _assign(data, dotted, value)
    _expand(data)
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"profile {name!r}: {first_problem(error)}") from None


@cache
def _packaged(name: str) -> Any:
    """YAML is slow to parse, and a suite asks for the same profile hundreds of times."""
    text = (resources.files("bench") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, f"profile {name!r}")


def first_problem(error: ValidationError) -> str:
    """The first validation error in one line: location, message, and the given value."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "value"
    return f"{where}: {problem['msg'].lower()} (got {str(problem['input'])[:60]!r})"


def _expand(data: Any) -> None:
    """Replace a preprocessing preset by its parameters; malformed input is left to the validation."""
    if not isinstance(data, dict) or not isinstance(data.get("preprocessing"), str):
        return
    base, shape = data.get("base"), data.get("image_shape")
    if isinstance(base, dict) and isinstance(shape, list) and isinstance(shape[-1], int):
        chosen = preset(
            data["preprocessing"],
            side=shape[-1],
            crop_share=float(base.get("crop_share", 1.0)),
            interpolation=base.get("interpolation", "bicubic"),
            crop_mode=base.get("crop_mode"),
            mean=base.get("mean"),
        )
        data["preprocessing"] = chosen.model_dump(mode="json")


def _assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    for part in path:
        data = data.setdefault(part, {}) if isinstance(data, dict) else {}
    if not isinstance(data, dict):
        raise InputError(
            f"profile setting {dotted!r} does not exist; expected a dotted path such as recipes.lora.steps"
        )
    data[last] = value
