"""Transfer attacks by their published names: the composable attack with published parameters.

The papers attack at eps 16/255 on images of 224 or 299 pixels with 10 steps of eps/10 and momentum 1. Parameters in
pixel units are expressed as multiples of eps, so that they carry over to any budget. All maximise the cross-entropy and
start from the clean image.
"""

from __future__ import annotations

from pydantic import Field

from bench.attacks.transfer.attack import Transfer
from bench.attacks.transfer.gradient import Loss


class Mi(Transfer):
    """MI-FGSM, momentum iterative method (arXiv 1710.06081)."""

    steps: int = Field(10, ge=1)
    loss: Loss = "cross-entropy"
    samples: int = Field(1, ge=1, description="random copies that a gradient is averaged over")
    shift: int = Field(0, ge=0, description="largest shift of the copies in pixels")
    noise: float = Field(0.0, ge=0, description="standard deviation of the noise on copies, in eps")
    translation: int = Field(0, ge=0, description="side of the kernel in pixels, odd; 0: none")


class Ni(Mi):
    """NI-FGSM, the gradient taken at the Nesterov look-ahead point (arXiv 1908.06281)."""

    nesterov: bool = Field(True, description="take the gradient at the Nesterov look-ahead point")


class Di(Mi):
    """DI-FGSM with momentum, input diversity by random resizing and padding (arXiv 1803.06978)."""

    diversity: float = Field(0.5, ge=0, le=1, description="probability that a copy is resized and padded")


class Ti(Mi):
    """TI-FGSM with momentum, gradients smoothed by a Gaussian kernel (arXiv 1904.02884)."""

    translation: int = Field(15, ge=0, description="side of the kernel in pixels, odd")


class Si(Mi):
    """SI-FGSM with momentum, gradients averaged over the scales x / 2^i (arXiv 1908.06281)."""

    scales: int = Field(5, ge=1, description="copies x / 2^i")


class Vmi(Mi):
    """VMI-FGSM, variance tuning of the momentum gradient (arXiv 2103.15571)."""

    neighbours: int = Field(20, ge=0, description="points that the variance is measured on")


class Vni(Vmi):
    """VNI-FGSM, variance tuning with Nesterov look-ahead (arXiv 2103.15571)."""

    nesterov: bool = Field(True, description="take the gradient at the Nesterov look-ahead point")


class Pgn(Mi):
    """PGN, gradients that penalise sharp maxima (arXiv 2306.05225)."""

    flat: int = Field(20, ge=0, description="points around the image")


class Bsr(Mi):
    """BSR, gradients averaged over copies with blocks shuffled and rotated (arXiv 2308.10299)."""

    samples: int = Field(20, ge=1, description="random copies that a gradient is averaged over")
    blocks: int = Field(3, ge=1, description="strips, and pieces of a strip")


class Pna(Mi):
    """PNA-PatchOut for ViT sources: constant attention, random patches perturbed (arXiv 2109.04176)."""

    pna: bool = Field(True, description="treat attention maps as constants")
    patch_out: float = Field(130 / 196, gt=0, le=1, description="share of patches that is perturbed in each step")
    stretch: float = Field(0.1, ge=0, description="weight of the perturbation's length in the loss")


class Tgr(Mi):
    """TGR for ViT sources: extreme gradients of tokens removed (arXiv 2303.15754)."""

    tgr: bool = Field(True, description="remove extreme gradients of tokens")
