"""The Python API: the examples of docs/api.md, the example notebook, and what `import bench` costs."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import bench
from bench.api.options import configured

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "key_lora.ipynb"


def test_the_examples_of_the_documentation_run_in_their_order(home, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), flags=re.S)
    assert len(blocks) == 6
    names = {"__name__": "docs.api"}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    said = capsys.readouterr()
    assert said.err == ""  # progress=False, or everything was there already
    assert re.search(
        r"Run [0-9a-f]{16}: key-lora under adaptive, pgd, linf:.*, 40 images, clean .*, robust <= ", said.out
    )
    assert "unknown option 'limitt'; did you mean limit" in said.out
    run, record = names["run"], names["run"].record
    assert run.robust_accuracy == sum(run.robust.values()) / len(run.robust) == record.metrics.robust_accuracy
    assert record.provenance.command.startswith("bench run --profile digits --defense key-lora --threat adaptive")
    assert names["again"].complete
    assert set(names["runs"]["run_id"]) == {run.id, names["plain"].id}
    ladder = names["ladder"]
    assert list(ladder.rungs["threat"]) == ["non-adaptive", "white-box"]
    assert bench.load(ladder.rungs["run_id"][0]).record.provenance.command == (
        "bench ladder --ladder rungs.yaml --defense key-lora --limit 40"
    )


# In a process of its own, which takes the kernel's sockets with it.
EXECUTE = """
import sys
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
manager = AsyncKernelManager(kernel_name="python3", transport="ipc")
NotebookClient(notebook, timeout=1200, km=manager).execute()
nbformat.write(notebook, "executed.ipynb")
"""


def test_the_example_notebook_runs(home, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE, str(NOTEBOOK)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read("executed.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.data.get("text/plain", "") for output in outputs if "data" in output]
    assert any(re.match(r"Run [0-9a-f]{16}: key-lora under adaptive, pgd", text) for text in texts)
    assert any("Robust accuracy is higher in" in text for text in texts)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("<progress" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert len(list((tmp_path / "results").glob("*/record.json"))) == 2


def test_the_example_notebook_is_short_and_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum(bool(line.strip()) for cell in code for line in cell.source.splitlines()) < 30


def test_import_bench_imports_nothing_slow():
    code = (
        "import sys, bench\n"
        "assert set(bench.__all__) <= set(dir(bench))\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'pyarrow', 'rich', 'yaml', 'typer'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_that_is_offered_is_there_and_nothing_else():
    for name in bench.__all__:
        assert getattr(bench, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        _ = bench.evalute


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"atack": "pgd"}, r"unknown option 'atack'; did you mean attack"),
        ({"limit": "ten"}, r"option limit: .*got 'ten'"),
        ({"limit": 0}, r"--limit is 0; expected 1 or more"),
        ({"norm": "l3"}, r"unknown norm 'l3'"),
        ({"readers": -1}, r"--readers is -1; expected 0 or more"),
        ({"settings": {"attack.step": 3}, "attack": "pgd"}, r"pgd has no option 'step'; did you mean steps"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(home, options, says):
    with pytest.raises(bench.InputError, match=says) as caught:
        bench.evaluate("plain", "white-box", **options)
    assert "\n" not in str(caught.value)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("eps", "text"), [("4/255", "4/255"), (4 / 255, "4/255"), (0.1, "1/10"), (1, "1"), (0.5, "1/2")]
)
def test_a_radius_is_a_text_or_a_quotient(eps, text):
    asked, _ = configured({"defense": "plain", "threat": "white-box", "eps": eps})
    assert asked.eps == text


@pytest.mark.slow
def test_the_types_of_what_is_offered_are_known(tmp_path):
    (tmp_path / "used.py").write_text(
        "import bench\n"
        "run = bench.evaluate('plain', 'white-box', limit=10)\n"
        "reveal_type(run)\n"
        "reveal_type(bench.compare(run, run))\n"
        "bench.nothing\n"
    )
    check = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "cache"),
             "--ignore-missing-imports", "--follow-imports=silent", str(tmp_path / "used.py")]  # fmt: skip
    said = subprocess.run(check, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "bench.api.runs.LocalRun"' in said, said
    assert 'Revealed type is "bench.studies.compare.Comparison"' in said, said
    assert "has no attribute" in said, said
