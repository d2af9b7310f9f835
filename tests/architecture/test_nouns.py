"""One word for one thing: no two classes share a name, and docs/architecture.md gives the file of every noun."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
TABLE = Path(__file__).parents[2] / "docs" / "architecture.md"
ROWS = [line.split("|")[1:4] for line in TABLE.read_text().splitlines() if line.startswith(("| `", "| Suite"))]


def definitions(path: Path) -> list[str]:
    """Names of the classes and of the type aliases of a file."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    targets = [t for node in nodes if isinstance(node, ast.Assign) for t in node.targets]
    return classes + [t.id for t in targets if isinstance(t, ast.Name) and re.fullmatch("[A-Z][A-Za-z]*[a-z]", t.id)]


def test_no_two_classes_share_a_name():
    names = Counter(name for path in ROOT.rglob("*.py") for name in set(definitions(path)) if not name.startswith("_"))
    twice = {name for name, times in names.items() if times > 1}
    assert twice <= {"Item", "Result", "Document", "Interval", "Pixels", "Loss"}  # type variables and plain aliases


@pytest.mark.parametrize(("nouns", "_what", "where"), ROWS, ids=lambda cell: cell.strip()[:40])
def test_a_noun_is_where_the_plan_says(nouns, _what, where):
    places = [ROOT / place.removeprefix("bench/") for place in re.findall("`([a-z_/]+(?:[.]py|/))`", where)]
    files = [f for p in places if p.exists() for f in (p.rglob("*.py") if p.is_dir() else [p])]
    files += (ROOT / "core" / "plugins").rglob("*.py") if "plug-in" in where else []
    found = {name for path in files for name in definitions(path)}
    missing = set(re.findall("`([A-Z][A-Za-z]+)`", nouns)) - found
    assert not missing, f"{sorted(missing)} not in {where.strip()}"
