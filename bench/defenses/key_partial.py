"""Fine-tuning of only the patch embedding and the head, with one key or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.core.errors import NotApplicableError
from bench.core.plugins import Kit
from bench.core.seeds import seed_of
from bench.defenses.keyed import KeyedDefense
from bench.models.classifier import freeze
from bench.models.parts import ends, with_own_ends


class KeyPartial(KeyedDefense):
    """Pixel-shuffled images, patch embedding and head fine-tuned, one or several (key, partial; arXiv 2309.01620)."""

    tuning = "partial"

    embeddings: int = Field(
        1, ge=1, description="keyed embeddings with their heads; if several, one is drawn for every image"
    )

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """The child modules with the first convolution and the classifier."""
        network.requires_grad_(False)
        for name in ends(network):
            network.get_submodule(name).requires_grad_(True)
        return network

    def train(self, kit: Kit, folder: Path) -> None:
        """Embedding and head for each of the keys, in turn."""
        for index in range(self.embeddings):
            self.save(self.tuned(kit, index).network, folder / str(index))

    def save(self, network: nn.Module, folder: Path) -> None:
        """Embedding and head, safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        state = network.state_dict()
        kept = {n: t.detach().cpu().contiguous() for n, t in state.items() if n.split(".")[0] in ends(network)}
        save_file(kept, folder / "ends.safetensors")

    def restore(self, network: nn.Module, folder: Path) -> nn.Module:
        """The start with embedding and head replaced."""
        state = load_file(folder / "ends.safetensors")
        network.load_state_dict({**network.state_dict(), **state})
        return network

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """One classifier, or several with a common trunk, one of which answers for each image."""
        members = [self.classifier(kit, 0)]
        members[0].network = self.restore(members[0].network, folder / "0")
        for index in range(1, self.embeddings):
            member = self.classifier(kit, index)
            member.network = self.restore(with_own_ends(members[0].network), folder / str(index))
            members.append(member)
        model = members[0] if len(members) == 1 else RandomMember(members, seed_of(kit.seed, "member"))
        return freeze(model).to(kit.training.device)

    def leak(self, kit: Kit, folder: Path) -> nn.Module:
        """The network without its key.

        Raises:
            NotApplicableError: if there are several embeddings.
        """
        if self.embeddings > 1:
            raise NotApplicableError(f"{self.embeddings} keyed embeddings leak as many networks; expected embeddings=1")
        return super().leak(kit, folder / "0")


class RandomMember(nn.Module):
    """One of several models, drawn for every image.

    The draw is a hash of seed and pixels: effectively random for a new image, and identical whenever the image is
    judged again, in any batch. Every member evaluates all images, so that no answer depends on the draws of the other
    images.
    """

    def __init__(self, members: Sequence[nn.Module], seed: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._seed = seed

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of ``images`` (B, C, H, W)."""
        logits = torch.stack([member(images) for member in self.members], 1)
        chosen = self.draw(images)
        return logits[torch.arange(len(images), device=images.device), chosen]

    def draw(self, images: Tensor) -> Tensor:
        """The member that answers for each image (B,), by multiply-and-add hashing of the float32 bits modulo 2**64."""
        bits = images.detach().float().contiguous().flatten(1).view(torch.int32).long()
        place = torch.arange(1, bits.shape[1] + 1, device=bits.device)
        weight = _mixed(place * -7046029254386353131 + self._seed) | 1
        return (_mixed((bits * weight).sum(1) + self._seed) & 0x7FFFFFFF) % len(self.members)


def _mixed(x: Tensor) -> Tensor:
    """The finaliser of splitmix64, on signed words."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x ^ ((x >> 31) & ((1 << 33) - 1))
