"""Selection of the test images that a run judges: the first N, or a list of ids."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pydantic import Field

from bench.core.errors import InputError, UnknownNameError
from bench.core.extras import require
from bench.core.frozen import Frozen
from bench.core.names import suggestion

ROBUSTBENCH = "robustbench-5000"  # the ImageNet images of RobustBench's leaderboard, from the installed package
# Suffixes of image files, as users have them; ids have none.
IMAGE_SUFFIXES = (
    ".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".gif",
)  # fmt: skip
_MOST = 1 << 28  # bytes of a list
_ROBUSTBENCH_FILE = ("helper_files", "imagenet_test_image_ids.txt")


class IdList(Frozen):
    """A list of ids by its name and content; the ids themselves are in the verdicts."""

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the ids, one per line")
    count: int = Field(ge=1)

    @classmethod
    def of(cls, name: str, ids: Sequence[str]) -> IdList:
        """Name and digest of ``ids``."""
        return cls(name=name, sha256=hashlib.sha256("\n".join(ids).encode()).hexdigest(), count=len(ids))


def read_ids(name: str, *, folders: bool = False) -> tuple[str, ...]:
    """The ids of ``robustbench-5000``, or of a file: one per line, with or without the suffix of an image.

    Args:
        name: The list.
        folders: Whether folders are part of an id, as the data set says; otherwise they are left out.

    Raises:
        InputError: if there is no such list or file, it is empty, or an id appears twice.
    """
    if not _is_text(name):
        raise InputError(f"id list {name!r} has a name that is not UTF-8, which a record cannot hold; rename it")
    path = _robustbench_list() if name == ROBUSTBENCH else Path(name)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        text = data.decode("utf-8-sig")
    except OSError:
        hint = suggestion(name, [ROBUSTBENCH])
        raise UnknownNameError(f"id list {name!r} is not a readable file{hint}") from None
    except UnicodeDecodeError:
        raise InputError(f"id list {name!r} is not text; expected one image id per line") from None
    if len(data) > _MOST:
        raise InputError(f"id list {name!r} has more than {_MOST} bytes; expected one image id per line")
    ids = tuple(_id(line, folders) for line in text.splitlines() if line.strip())
    if not ids:
        raise InputError(f"id list {name!r} is empty; expected one image id per line")
    if len(set(ids)) != len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise InputError(f"id list {name!r} has {twice[:80]!r} twice; expected every image once")
    return ids


def positions(ids: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Positions of the ``wanted`` ids in ``ids``.

    Raises:
        InputError: if one of them is missing.
    """
    at = {image_id: i for i, image_id in enumerate(ids)}
    missing = [image_id for image_id in wanted if image_id not in at]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted)} wanted images are not in the data, the first is {missing[0][:80]!r}; "
            f"expected ids such as {ids[0]!r}"
        )
    return [at[image_id] for image_id in wanted]


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _id(line: str, folders: bool) -> str:
    text = line.strip()
    path = PurePosixPath(text)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        text = text[: -len(path.suffix)]
    elif not folders:
        return text
    return text.removeprefix("./") if folders else PurePosixPath(text).name


def _robustbench_list() -> Path:
    require("robustbench", f"list {ROBUSTBENCH}")
    found = importlib.util.find_spec("robustbench")
    places = found.submodule_search_locations if found else None
    if not places:
        raise InputError(f"the installed robustbench is no package, so {ROBUSTBENCH} is not there; reinstall it")
    return Path(places[0]).joinpath(*_ROBUSTBENCH_FILE)
