"""Temporary changes to a vision transformer during an attack: hooks on its blocks, removed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bench.core.errors import NotApplicableError

# TGR's factors on the gradients of attention map, qkv and MLP, from the authors' code (jpzhang1810/TGR, methods.py).
_ATTENTION, _QKV, _MLP = 0.25, 0.75, 0.5


def blocks(source: object) -> list[tuple[Any, Any]]:
    """Attention (with ``qkv``, ``attn_drop``) and MLP of timm's transformer blocks, of every member of an ensemble."""
    modules = source.modules() if isinstance(source, nn.Module) else ()
    return [(m.attn, m.mlp) for m in modules if _is_attention(getattr(m, "attn", None)) and hasattr(m, "mlp")]


def patch_side(source: object) -> int | None:
    """Side of the patches in pixels; None if ``source`` has no patch embedding with square patches."""
    for module in source.modules() if isinstance(source, nn.Module) else ():
        sides = getattr(getattr(module, "patch_embed", None), "patch_size", None)
        if isinstance(sides, tuple) and len(set(sides)) == 1:
            return int(sides[0])
    return None


def refuse_without_blocks(source: object, what: str) -> None:
    """Raise InputError if ``source`` is not a vision transformer that ``what`` supports."""
    if not blocks(source) or patch_side(source) is None:
        kinds = sorted({type(m).__name__ for m in source.modules()}) if isinstance(source, nn.Module) else []
        seen = ", ".join(kinds[:6]) or type(source).__name__
        raise NotApplicableError(
            f"source has no ViT blocks ({seen}); {what} expected a vision transformer of timm; use --attack vmi"
        )


@contextmanager
def hooked(source: object, *, constant_attention: bool, damped: bool) -> Iterator[None]:
    """Inside this context, the source's gradient is PNA's or TGR's; its logits are unchanged up to rounding.

    Args:
        source: A model with blocks; left unchanged if both options are off.
        constant_attention: PNA (arXiv:2109.04176): the attention map has no gradient.
        damped: TGR (arXiv:2303.15754): extreme gradients of attention map, qkv and MLP are removed, the rest scaled.
    """
    found = blocks(source) if constant_attention or damped else []
    maps = [attention for attention, _ in found if hasattr(attention, "fused_attn")]
    fused = [attention.fused_attn for attention in maps]
    handles = []
    try:
        for attention in maps:
            attention.fused_attn = False  # the fused kernel does not expose the map
        for attention, mlp in found:
            if damped:
                handles.append(attention.qkv.register_forward_hook(_on_gradient(lambda g: damped_tokens(g, _QKV))))
                handles.append(mlp.register_forward_hook(_on_gradient(lambda g: damped_tokens(g, _MLP))))
            hook = _constant if constant_attention else _on_gradient(damped_attention)
            handles.append(attention.attn_drop.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for attention, was in zip(maps, fused, strict=True):
            attention.fused_attn = was


def damped_attention(gradient: Tensor) -> Tensor:
    """Gradient of attention maps (B, heads, N, N): rows and columns of each head's two extremes are 0."""
    n = gradient.shape[-1]
    flat = gradient.flatten(2)
    kept = gradient * _ATTENTION
    for extreme in (flat.argmax(-1), flat.argmin(-1)):
        row, column = (extreme // n)[..., None, None], (extreme % n)[..., None, None]
        kept = kept.scatter(2, row.expand(*row.shape[:2], 1, n), 0.0)
        kept = kept.scatter(3, column.expand(*column.shape[:2], n, 1), 0.0)
    return kept


def damped_tokens(gradient: Tensor, factor: float) -> Tensor:
    """Gradient of tokens (B, N, channels): the two extreme tokens of each channel are 0."""
    kept = gradient * factor
    for extreme in (gradient.argmax(1, keepdim=True), gradient.argmin(1, keepdim=True)):
        kept = kept.scatter(1, extreme, 0.0)
    return kept


def _on_gradient(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(change)

    return hook


def _constant(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.detach()


def _is_attention(module: object) -> bool:
    return isinstance(module, nn.Module) and hasattr(module, "qkv") and hasattr(module, "attn_drop")
