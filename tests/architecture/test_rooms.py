"""Checks of the rooms and arrows of docs/architecture.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent
ARROWS = {
    "core": set(),
    "transforms": {"core"},
    "data": {"core"},
    "models": {"core"},
    "training": {"models", "core"},
    "defenses": {"training", "models", "core"},
    "attacks": {"core"},
    "threats": {"training", "models", "core"},
    "backends": {"core"},
    "store": {"checks", "core"},
    "checks": {"core"},
    "engine": {"store", "checks", "training", "models", "core"},
    "plan": {"engine", "training", "models", "core"},
    "doctor": {"engine", "store", "models", "core"},
    "submissions": {"engine", "store", "checks", "core"},
    "studies": {"engine", "store", "checks", "models", "core"},
    "report": {"store", "checks", "core"},
    "perf": {"engine", "store", "models", "core"},
    "api": {"studies", "engine", "store", "core"},
    "cli": {"api", "report", "perf", "studies", "submissions", "doctor", "plan", "engine", "training", "store", "core"},
}
FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT)


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {n.split(".")[1] for n in names if n.startswith("bench.")}


def test_every_room_is_on_the_plan():
    assert {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()} == set(ARROWS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    room = path.relative_to(ROOT).parts[0]
    if room == "__init__.py":
        return
    allowed = ARROWS[room] | {room}
    assert imports(path) <= allowed, f"{room} may import {sorted(allowed)}"


def test_unit_tests_lie_in_rooms_and_no_two_files_of_tests_share_a_name():
    tests = Path(__file__).parents[1]
    assert {p.name for p in (tests / "unit").iterdir() if any(p.glob("test_*.py"))} <= set(ARROWS)
    names = [p.name for p in tests.rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_no_room_holds_too_much_of_the_house():
    lines = dict.fromkeys(ARROWS, 0)
    for path in FILES:
        lines[path.relative_to(ROOT).parts[0]] += len(path.read_text().splitlines())
    total = sum(lines.values())
    assert not {room: f"{n / total:.0%}" for room, n in lines.items() if n > 0.15 * total}, "no room over 15%"


def test_the_arrows_make_no_circle():
    left = dict(ARROWS)
    while left:
        free = [r for r, to in left.items() if not to & set(left)]
        assert free, f"circle among {sorted(left)}"
        for r in free:
            del left[r]


@pytest.mark.parametrize(
    "argv", [["--help"], ["run", "--help"], ["list"], ["list", "attacks", "--json"], ["key", "list"]]
)
def test_looking_around_does_not_import_torch(argv, tmp_path):
    code = (
        "import sys, bench.cli.main as m\n"
        f"sys.argv = ['bench', *{argv!r}]\n"
        "try: m.main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'timm', 'peft', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    env = {"BENCH_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_command_line_prints():
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"], path


def test_one_module_asks_accelerators():
    for path in FILES:
        names = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
        kinds = {ast.unparse(n) for n in names if n.attr == "is_cuda" or ast.unparse(n) in ("torch.cuda", "torch.xpu")}
        assert not kinds or path.relative_to(ROOT) == Path("core/devices.py"), f"{path}: {kinds}"


def test_robustbench_is_imported_without_a_trace_in_the_environment():
    """It wants `autoattack` and `pkg_resources`; they exist while it is imported, and for nobody else."""
    code = (
        "import sys, importlib.util as u; from bench.models.zoo_import import import_robustbench as i;"
        "print(len(i('robustbench.model_zoo').model_dicts), i('robustbench.loaders').pkg_resources.__name__,"
        "[n for n in ('autoattack', 'autoattack.state') if n in sys.modules or u.find_spec('autoattack')])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split(maxsplit=1) == ["3", "pkg_resources []\n"], done.stderr
