"""Check: Python and the packages, by importing them."""

from __future__ import annotations

import importlib
import platform
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from bench.core.extras import EXTRAS, lacks
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic, reason
from bench.models.zoo_import import import_robustbench

_TOPIC = Topic("environment")
_PAIR = (
    "torch and torchvision do not match (one for the CPU and one for CUDA, or different releases): install both from "
    "one index, `pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu`, "
    "or .../whl/cu128 for a GPU"
)
_OTHERS = {"timm": "architectures", "accelerate": "training", "peft": "LoRA"}
_EXTRAS = {
    "pyautoattack": "the attack autoattack-reference",
    "pyffx": "the transform ffx",
    "robustbench": "RobustBench's models and list of images",
    "ray": "the backend ray",
}


def check(examined: Examined) -> Iterator[Diagnosis]:
    """Python, torch with torchvision, and the other packages by name."""
    yield _TOPIC.ok(f"python {platform.python_version()}, {platform.system()} {platform.machine()}")
    yield _torch()
    for package, purpose in _OTHERS.items():
        yield _package(package, purpose, needed=True)
    for package, purpose in _EXTRAS.items():
        if (problem := lacks(package)) is not None:
            yield _TOPIC.ok(f"optional: {purpose} {problem}")
        else:
            yield _package(package, purpose, needed=False)


def _torch() -> Diagnosis:
    """Both together: torchvision registers operators in torch at import, and fails if the two do not match."""
    if (error := _import("torch")) is not None:
        return _TOPIC.fail(f"torch cannot be imported ({reason(error)})", "pip install torch torchvision")
    if (error := _import("torchvision")) is not None:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "torchvision"
        both = f"torch {_version('torch')} with torchvision {_version('torchvision')}"
        return _TOPIC.fail(
            f"{both} cannot be imported ({reason(error)})", "pip install torchvision" if absent else _PAIR
        )
    return _TOPIC.ok(f"torch {_version('torch')} with torchvision {_version('torchvision')}")


def _package(package: str, purpose: str, *, needed: bool) -> Diagnosis:
    error = _import(package)
    if error is None:
        return _TOPIC.ok(f"{package} {_version(package)}")
    advice = f"pip install --upgrade {package}"
    if "torchvision::" in str(error):
        advice = "fix torch and torchvision first"
    elif package in EXTRAS:
        advice = f"pip install --upgrade 'keybench[{EXTRAS[package]}]'"
    return _TOPIC.wrong(f"{package}, for {purpose}, cannot be imported ({reason(error)})", advice, fatal=needed)


def _import(package: str) -> Exception | None:
    """Import a package, suppressing its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_robustbench(package) if package == "robustbench" else importlib.import_module(package)
        except Exception as error:  # the trap is a RuntimeError
            return error
    return None


def _version(package: str) -> str:
    """The version that the package reports, which distinguishes CPU and CUDA builds of torch; or the installed one."""
    said = getattr(sys.modules.get(package), "__version__", None)
    try:
        return str(said) if said else version(package)
    except PackageNotFoundError:
        return "(not installed)"
