"""The single configuration: the request of an evaluation, and its resources.

Each field is declared once, with help text and limits, for the command line, the environment, YAML and Python keywords.
This module has no slow imports, so that ``--help`` is fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from bench.core.budget import Norm, parse_norm
from bench.core.errors import InputError
from bench.core.flags import Flag, build
from bench.core.nouns import Precision, Protocol

_ROUNDING = 1e-15  # tolerance for a quotient of small integers as a float


def parse_protocol(name: str) -> Protocol:
    """The protocol by its name.

    Raises:
        InputError: if there is no such protocol.
    """
    if name not in list(Protocol):
        raise InputError(f"unknown protocol {name!r}; expected one of {', '.join(Protocol)}")
    return Protocol(name)


def parse_precision(name: str, device: str = "cpu") -> Precision:
    """The precision of a search by its name; ``auto`` is bf16 on an accelerator that supports it, else fp32.

    Raises:
        InputError: if there is no such precision.
    """
    if name == "auto":
        from bench.core.devices import has_bf16  # noqa: PLC0415 (torch is slow, and `--help` does without)

        return Precision.BF16 if has_bf16(device) else Precision.FP32
    if name not in list(Precision):
        raise InputError(f"unknown precision {name!r}; expected one of {', '.join(Precision)}, auto")
    return Precision(name)


def _named(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Parse the text of any value."""
    return lambda value: parse(str(value))


def _results(place: str | Path) -> Path:
    from bench.store.elsewhere import results_folder  # noqa: PLC0415 (slow, and `--help` does without)

    return results_folder(place)


def radius_text(eps: str | float | Fraction) -> str:
    """A radius as text; the float 4 / 255 becomes 4/255, not its 17 decimals."""
    if isinstance(eps, float) and math.isfinite(eps):
        near = Fraction(eps).limit_denominator(100_000)
        return str(near) if abs(near - Fraction(eps)) < _ROUNDING else repr(eps)
    return str(eps)


WeightsField = Annotated[
    Path | None,
    Flag("File or folder of pre-trained weights, e.g. /data/weights; default: timm's weights from the hub."),
]


ProfileField = Annotated[str, Flag("Data set, base model and training recipes: digits, imagenet, or a YAML file.")]
QuantizeField = Annotated[
    int | None,
    Flag("Also judge every adversarial image rounded to this many bits inside the ball: 8.", least=8, most=8),
]
LimitField = Annotated[int | None, Flag("Number of images: the first ones, e.g. 100. Default: all.", least=1)]


@dataclass(frozen=True)
class Request:
    """The evaluation; None means the default of the profile, the plug-in or the threat.

    The SHA-256 of ``weights`` becomes part of the Spec, the path does not. ``settings`` are dotted, such as
    ``defense.block_size``, ``attack.steps``, ``profile.recipes.lora.steps``.
    """

    defense: Annotated[str, Flag("Defense, e.g. key-lora or plain; `bench list defenses` shows all.")]
    threat: Annotated[
        str, Flag("Threat model: what the adversary knows, e.g. adaptive or white-box; see `bench list threats`.")
    ]
    attack: Annotated[
        str | None, Flag("Attack, e.g. autoattack or pgd; see `bench list attacks`. Default: the threat's.")
    ] = None
    profile: ProfileField = "digits"
    norm: Annotated[Norm, Flag("Norm of the perturbation: linf, l2 or l1.", parse=_named(parse_norm))] = Norm.LINF
    eps: Annotated[
        str | None, Flag("Radius on the [0, 1] pixel scale, e.g. 4/255. Default: the profile's.", parse=radius_text)
    ] = None
    protocol: Annotated[
        Protocol,
        Flag(
            "strict attacks every image; paper leaves images that the source misclassifies clean (arXiv 2311.16577).",
            parse=_named(parse_protocol),
        ),
    ] = Protocol.STRICT
    seed: Annotated[int, Flag("Random seed, e.g. 0.")] = 0
    limit: LimitField = None
    stop_at_precision: Annotated[
        float | None,
        Flag("Stop once the 95% interval is at most this many percentage points to either side, e.g. 2."),
    ] = None
    estimate: Annotated[
        float | None,
        Flag(
            "Estimate the full run: the attack's first part on all images, the rest on a random sample, until the 95% "
            "interval is at most this many percentage points to either side, e.g. 0.5."
        ),
    ] = None
    batch_size: Annotated[int | None, Flag("Images per batch of the attack, e.g. 128. Default: the profile's.")] = None
    precision: Annotated[
        Precision,
        Flag(
            "Arithmetic of the attack: fp32, tf32, bf16 or auto. Verdicts are always fp32.",
            parse=_named(parse_precision),
        ),
    ] = Precision.FP32
    quantize: QuantizeField = None
    key: Annotated[
        str | None,
        Flag("Name of the defender's key in the keyring, e.g. alice. Default: derived from the seed.", parse=str),
    ] = None
    judge_device: Annotated[
        int, Flag("Number of the maker's device that is judged, e.g. 1; each has its own key.", least=0)
    ] = 0
    ids: Annotated[
        str | None, Flag("List of images: robustbench-5000, or a file with one image id per line.", parse=str)
    ] = None
    preprocessing: Annotated[
        str | None, Flag("Resize and crop, e.g. timm-eval or resize-224. Default: the profile's.")
    ] = None
    base: Annotated[
        str | None, Flag("Undefended model: any timm model with its tag, e.g. vit_base_patch16_224.augreg_in21k.")
    ] = None
    start: Annotated[str | None, Flag("Model from which fine-tuning starts: a timm model. Default: the base.")] = None
    weights: WeightsField = None
    settings: Annotated[
        dict[str, Any],
        Flag("SECTION.NAME=VALUE, e.g. defense.block_size=8 or attack.steps=10; may be given several times.", "set"),
    ] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """The environment of an evaluation; none of it may change a verdict beyond rounding."""

    data: Annotated[Path | None, Flag("Folder of the data set, e.g. /data/imagenet; digits need none.")] = None
    weights: WeightsField = None
    offline: Annotated[bool, Flag("Disable network access.")] = False
    readers: Annotated[
        int | None, Flag("Image-decoding threads, e.g. 4. Default: one less than the cores.", least=0)
    ] = None
    workers: Annotated[
        int | None,
        Flag(
            "Processes, e.g. 4. Default: one per GPU of --device cuda; all cores for suites of small models; else 1.",
            least=1,
        ),
    ] = None
    stale: Annotated[
        float | None,
        Flag("Seconds after which a silent worker on another machine counts as dead. Default: 120.", "stale-after",
             least=1),
    ] = None  # fmt: skip
    train: Annotated[bool, Flag("Train missing models now, even if that takes hours.")] = False
    results: Annotated[Path, Flag("Folder of records, or a URL such as s3://bucket/runs.", parse=_results)] = Path(
        "results"
    )
    device: Annotated[str, Flag("Device: cpu, cuda or cuda:1.")] = "cpu"
    backend: Annotated[str, Flag("Backend that runs the shards; see `bench list backends`.")] = "local"
    address: Annotated[
        str | None,
        Flag("Cluster of the backend ray: HOST:PORT of its head, or local to start one on this machine alone."),
    ] = None
    isolate: Annotated[
        bool | None,
        Flag(
            "Judge in a process of its own that holds only model and images. Default: for defenses from outside; "
            "--no-isolate never does, and makes those ineligible."
        ),
    ] = None
    rebuild: Annotated[bool, Flag("Rebuild a cached model with a wrong digest.")] = False
    verify_data: Annotated[bool, Flag("Read every image again for its digest, even if its file has not changed.")] = (
        False
    )


def make_request(values: Mapping[str, Any], *, device: str | None = None) -> Request:
    """A request from loosely typed values of flags, a YAML file or Python keywords.

    Args:
        values: By field name.
        device: The device for which precision ``auto`` is resolved; None refuses ``auto``.

    Raises:
        InputError: for an unknown name, a missing one, or an invalid value.
    """
    if values.get("precision") == "auto":
        if device is None:
            raise InputError("precision auto depends on the device; expected fp32, tf32 or bf16")
        values = {**values, "precision": parse_precision("auto", device)}
    return build(Request, values)


def names_of(*kinds: type[Any]) -> set[str]:
    """The names of all fields of dataclasses."""
    return {found.name for kind in kinds for found in fields(kind)}
