"""A split with images that are decoded on access."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import get_worker_info

from bench.core.errors import InputError, UnreadableImageError
from bench.core.nouns import Batch
from bench.core.plugins import Storage
from bench.core.profile import Augmentation
from bench.core.progress import Progress, Silent
from bench.data.readers.digests import contents
from bench.data.readers.listing import Listing
from bench.data.readers.pixels import decode, fit, vary


class FileSplit:
    """Encoded images in the order of their ids, independent of their storage.

    Args:
        listing: The images.
        storage: Shape, preprocessing and threads.
        problems: Returned by :meth:`problems`.
        keep_order: Keep the order of the listing, if it is the published one.

    Raises:
        InputError: if there are no images, an id appears twice, or the shape does not have three channels.
    """

    def __init__(
        self,
        listing: Listing,
        storage: Storage,
        *,
        problems: Sequence[str] = (),
        keep_order: bool = False,
    ) -> None:
        if storage.image_shape[0] != 3:
            raise InputError(f"image_shape {list(storage.image_shape)} asks for other than RGB; expected [3, H, W]")
        if not listing.ids:
            raise InputError(f"{storage.root} holds no images; expected JPEG or PNG files: check --data")
        places = range(len(listing.ids))
        self._places = np.array(places if keep_order else sorted(places, key=listing.ids.__getitem__), dtype=np.int64)
        self.ids: Sequence[str] = tuple(listing.ids[i] for i in self._places)
        self.labels: Sequence[int] = tuple(int(listing.labels[i]) for i in self._places)
        self._source, self._storage = listing.source, storage
        self.layout = listing.layout
        self._problems = tuple(problems)
        self._threads: tuple[int, ThreadPoolExecutor] | None = None
        self._check_unique()

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions``, preprocessed, float32 (B, 3, H, W) in [0, 1].

        Raises:
            UnreadableImageError: if an image cannot be read or decoded.
            InputError: if an image does not have the profile's shape after preprocessing.
        """
        test = self._storage.preprocessing
        images = self._each(positions, lambda at: self._picture(positions[at], lambda image: fit(image, test)))
        labels = torch.tensor([self.labels[p] for p in positions], dtype=torch.int64)
        return Batch(tuple(self.ids[p] for p in positions), images.to(torch.float32).div_(255), labels)

    def draw(self, positions: Sequence[int], seeds: Sequence[int], how: Augmentation) -> tuple[Tensor, Tensor]:
        """Training images, uint8 (B, 3, H, W), each augmented by its seed, with labels (B,) int64.

        Raises:
            UnreadableImageError: if an image cannot be read or decoded.
            InputError: if there is no crop and an image does not have the profile's shape after preprocessing.
        """
        _, height, width = self._storage.image_shape
        test = self._storage.preprocessing
        images = self._each(
            positions,
            lambda at: self._picture(positions[at], lambda image: vary(image, how, test, (width, height), seeds[at])),
        )
        return images, torch.tensor([self.labels[p] for p in positions], dtype=torch.int64)

    def digest(self, positions: Sequence[int] | None = None, progress: Progress | None = None) -> str:
        """SHA-256 over ids, labels and encoded bytes of the images at ``positions``, or of all.

        It does not depend on the layout. An image is read once; its digest is kept while its file does not change.
        """
        chosen = range(len(self.ids)) if positions is None else positions
        places = self._places[list(chosen)].tolist()
        h = hashlib.sha256("\n".join(self.ids[p] for p in chosen).encode())
        h.update(np.asarray([self.labels[p] for p in chosen], dtype="<i8").tobytes())
        h.update(b"".join(contents(self._source, places, self._storage, progress or Silent())))
        return h.hexdigest()

    def problems(self) -> list[str]:
        """Differences from the published size, one line each."""
        return list(self._problems)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_threads": None}

    def _each(self, positions: Sequence[int], image: Callable[[int], Image.Image]) -> Tensor:
        """Images (B, 3, H, W) uint8, decoded on the storage's threads, or on one thread in a worker process."""
        out = np.empty((len(positions), *self._storage.image_shape), dtype=np.uint8)

        def fill(at: int) -> None:
            out[at] = self._shaped(positions[at], image(at))

        if self._storage.workers <= 1 or len(positions) == 1 or get_worker_info() is not None:
            for at in range(len(positions)):
                fill(at)
        else:
            list(self._pool().map(fill, range(len(positions))))
        return torch.from_numpy(out)

    def _pool(self) -> ThreadPoolExecutor:
        """The threads of this process; a fork cannot use its parent's threads."""
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = (os.getpid(), ThreadPoolExecutor(self._storage.workers, thread_name_prefix="decode"))
        return self._threads[1]

    def _picture(self, position: int, make: Callable[[Image.Image], Image.Image]) -> Image.Image:
        """An image decoded and brought to its shape."""
        place = int(self._places[position])
        try:
            return make(decode(self._source.encoded(place)))
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise various exceptions
            raise UnreadableImageError(self.ids[position], self._source.where(place), _reason(error)) from error

    def _shaped(self, position: int, image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        _, height, width = self._storage.image_shape
        if image.size != (width, height):
            raise InputError(
                f"image {self.ids[position]} is {image.height} x {image.width} after preprocessing "
                f"{self._storage.preprocessing.name!r}; expected the profile's {height} x {width}: "
                "choose a preprocessing that resizes and crops to it"
            )
        return np.asarray(image).transpose(2, 0, 1)

    def _check_unique(self) -> None:
        order = range(len(self.ids)) if len(set(self.ids)) < len(self.ids) else ()
        seen: dict[str, int] = {}
        for position in order:
            first = seen.setdefault(self.ids[position], position)
            if first != position:
                here, there = (self._source.where(int(self._places[p])) for p in (first, position))
                raise InputError(
                    f"image {self.ids[position]} appears twice ({here} and {there}); expected each once: remove one"
                )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message contains a memory address
        return "not an image file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__
