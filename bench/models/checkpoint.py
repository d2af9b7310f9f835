"""Loading external weights into a network, or refusing them with a one-line error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.core.errors import InputError
from bench.models.state_files import one_line, read_state


def load_state(network: nn.Module, path: Path, *, name: str) -> None:
    """Read a file of weights and load it strictly.

    Args:
        network: Receives the weights; half precision or integers are converted to its dtype.
        path: A safetensors or torch file.
        name: Name of ``network`` in error messages.

    Raises:
        InputError: see :func:`read_state` and :func:`fit_state`.
    """
    fit_state(network, read_state(path), where=str(path), name=name)


def fit_state(network: nn.Module, state: dict[str, Tensor], *, where: str, name: str) -> None:
    """Load ``state`` strictly; names that do not match are first converted by timm for the architecture.

    Raises:
        InputError: for another number of classes, another architecture, or non-finite weights.
    """
    expected = {n: tuple(t.shape) for n, t in network.state_dict().items()}
    if expected.keys() != state.keys():
        state = _converted(network, state)
    _check_names(expected, {n: tuple(t.shape) for n, t in state.items()}, where, name)
    broken = [n for n, t in state.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        raise InputError(
            f"{where} has NaN or infinity in {len(broken)} tensors (e.g. {broken[0]}), expected finite weights; "
            "give a complete file of them"
        )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{where} does not load into {name}: {one_line(error)}") from error


def _converted(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under timm's current names; tensors that timm would resample for another size are left unchanged."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        new: dict[str, Tensor] = dict(convert(dict(state), network))
    except Exception:  # names of another architecture can fail in any way; the comparison of names explains why
        return state
    stored = {t.untyped_storage().data_ptr() for t in state.values()}
    for name, tensor in new.items():
        old = state.get(name)
        if old is not None and old.numel() != tensor.numel() and tensor.untyped_storage().data_ptr() not in stored:
            new[name] = old
    return new


def _check_names(
    expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], where: str, name: str
) -> None:
    missing = [n for n in expected if n not in got and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in got if n not in expected]
    misshapen = [n for n in expected if n in got and got[n] != expected[n]]
    if not (missing or unexpected or misshapen):
        return
    weight = next((n for n in reversed(list(expected)) if n.endswith(".weight") and len(expected[n]) == 2), "")
    head = {weight, weight.removesuffix("weight") + "bias"}
    classes = expected[weight][0] if weight else 0
    if weight and not unexpected and not misshapen and set(missing) <= head:
        raise InputError(f"{where} holds no classifier ({weight} is missing), expected {classes} classes for {name}")
    if weight in misshapen and not (missing or unexpected) and set(misshapen) <= head:
        raise InputError(
            f"{where} holds {got[weight][0]} classes ({weight}), expected {classes} for {name}; "
            "give weights with that many classes"
        )
    parts = [
        f"{len(names)} names {what} (e.g. {names[0]})"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if misshapen:
        first = misshapen[0]
        parts.append(f"{len(misshapen)} of another shape (e.g. {first}: {got[first]} for {expected[first]})")
    raise InputError(f"{where} is not of the architecture {name}: {', '.join(parts)}; give weights of {name}")
