"""timm's pre-trained weights: their metadata and the location of their file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

from bench.core.errors import InputError, UnknownNameError
from bench.core.names import suggestion
from bench.core.preprocessing import CropMode, Interpolation

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".pth.tar", ".ckpt")
_USUAL = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin", "model.pt", "model.pth")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_GIVE = "give --weights FILE or FOLDER"


def is_offline(asked: bool = False) -> bool:
    """Whether network access is off: requested, or HF_HUB_OFFLINE or BENCH_OFFLINE set in the environment."""
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "BENCH_OFFLINE"))
    return asked or any(value.lower() not in ("", "0", "false", "no", "off") for value in values)


def find_weights(name: str, given: Path | None, *, offline: bool = False) -> Path:
    """Locate the file of timm's weights ``name``.

    Args:
        name: ``architecture.tag``; without a tag, timm's default.
        given: The user's file, or a folder of files or of folders by name; None for the Hugging Face cache and hub.
        offline: Disable network access; see also :func:`is_offline`.

    Raises:
        UnknownNameError: if timm does not know the name.
        InputError: if it was not found, or the download failed.
    """
    if given is None:
        return _from_hub(name, is_offline(offline))
    if given.is_file():
        return given
    if not given.is_dir():
        raise InputError(f"weights {given} do not exist; expected a file or a folder with {name}")
    for path in _places(name, given):
        if path.is_file():
            return path
    there = sorted(p.relative_to(given).as_posix() for p in _weights_in(given))
    shown = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
    raise InputError(
        f"folder {given} holds no {name}: expected {name}.safetensors, {name}/model.safetensors or model.safetensors, "
        f"got {shown or 'no weights'}; name the file with --weights"
    )


def timm_base(name: str, side: int | None = None) -> dict[str, Any]:
    """Metadata from timm of the weights ``architecture.tag``, as the fields of bench.core.profile.Base.

    Args:
        name: The weights.
        side: Side of the images in pixels: at timm's size for tests, its crop for tests is taken.

    Returns:
        architecture, pretrained (the tag), mean, std, crop_share, crop_mode, interpolation, classes of the weights.

    Raises:
        UnknownNameError: if timm does not know the name.
        InputError: for weights without a classifier, or an unsupported resizing method.
    """
    config = _config(name)
    if config.num_classes < 2:
        raise InputError(f"timm's {name} has no classifier (features only); expected weights with classes")
    if config.interpolation not in get_args(Interpolation):
        raise InputError(
            f"timm's {name} resizes by {config.interpolation!r}, expected one of {get_args(Interpolation)}"
        )
    at_test_size = config.test_input_size is not None and side == config.test_input_size[-1]
    crop_mode = config.crop_mode or "center"
    if crop_mode not in ("center", *get_args(CropMode)):
        raise InputError(f"timm's {name} crops by {crop_mode!r}, expected center or one of {get_args(CropMode)}")
    return {
        "architecture": config.architecture,
        "pretrained": config.tag,
        "mean": tuple(config.mean),
        "std": tuple(config.std),
        "crop_share": (at_test_size and config.test_crop_pct) or config.crop_pct,
        "crop_mode": None if crop_mode == "center" else crop_mode,
        "interpolation": config.interpolation,
        "classes": config.num_classes,
    }


def timm_shape(name: str) -> tuple[int, ...] | None:
    """Shape (C, H, W) if the weights ``architecture.tag`` accept only one; None if they accept others.

    Raises:
        UnknownNameError: if timm does not know the name.
    """
    config = _config(name)
    return tuple(config.input_size) if config.fixed_input_size else None


def _places(name: str, folder: Path) -> list[Path]:
    """Possible locations of the file, those with the name first."""
    named = [f"{name}{suffix}" for suffix in SUFFIXES]
    inside = [f"{name}/{file}" for file in (*_USUAL, *named)]
    cached = sorted(folder.glob(f"models--timm--{name}/snapshots/*/model.safetensors"))  # a Hugging Face cache
    return [*(folder / file for file in (*named, *inside, *_USUAL)), *cached]


def _weights_in(folder: Path) -> list[Path]:
    files = [p for pattern in ("*", "*/*") for p in folder.glob(pattern)]
    return [p for p in files if p.name.endswith(SUFFIXES) and p.is_file()]


def _config(name: str) -> Any:
    """The PretrainedCfg of ``architecture.tag``, if timm knows the weights."""
    import timm  # noqa: PLC0415 (seconds to import)

    try:
        config = timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # a known architecture with another tag
        config = None
    if config is None or not config.has_weights or not config.tag:
        known = timm.list_pretrained()
        architecture = name.partition(".")[0]
        of_architecture = [n for n in known if n.split(".")[0] == architecture]
        raise UnknownNameError(f"timm has no weights {name!r}{suggestion(name, of_architecture or known)}")
    return config


def _from_hub(name: str, offline: bool) -> Path:
    import huggingface_hub  # noqa: PLC0415 (a second to import)
    from huggingface_hub import constants, errors  # noqa: PLC0415

    config = _config(name)
    if not config.hf_hub_id:
        raise InputError(f"timm's {name} is not on the Hugging Face hub; {_GIVE}")
    repository, _, revision = config.hf_hub_id.partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES
    for local in (True,) if offline else (True, False):  # cached files need no network access
        for file in files:
            try:
                found = huggingface_hub.hf_hub_download(
                    repository, file, revision=revision or None, local_files_only=local
                )
                return Path(found)
            except errors.LocalEntryNotFoundError as error:
                if not local:
                    raise _no_download(name, repository, error.__cause__ or error) from error
            except errors.EntryNotFoundError:
                continue
            except Exception as error:  # raised by any of the download libraries
                raise _no_download(name, repository, error) from error
    cache = constants.HF_HUB_CACHE
    if offline:
        raise InputError(f"weights {name} are not in the cache {cache} and the network is off; {_GIVE}")
    raise InputError(f"{repository} on the Hugging Face hub has none of {', '.join(files)}; {_GIVE}")


def _no_download(name: str, repository: str, error: BaseException) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"cannot download {name} from huggingface.co/{repository}: {reason}; {_GIVE}")
