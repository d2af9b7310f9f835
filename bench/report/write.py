"""An output as files: Markdown, CSV, LaTeX (booktabs), PNG and PDF."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bench.report.output import Output, Table
from bench.store.files import write_whole

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "†": r"$\dagger$", "∞": r"$_\infty$", "ε": r"$\varepsilon$",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def write_output(output: Output, folder: Path, name: str) -> list[Path]:
    """Write an output atomically; the same output gives the same bytes.

    Args:
        output: The output of a report.
        folder: Created if it does not exist.
        name: Name of the files, without suffix.

    Returns:
        The files.

    Raises:
        StorageError: if the folder cannot be written.
    """
    texts = {"md": markdown(output, name), "csv": as_csv(output.table), "tex": latex(output, name)}
    paths = []
    for ending, text in texts.items():
        path = folder / f"{name}.{ending}"
        write_whole(path, text.encode())
        paths.append(path)
    for suffix, figure in output.figures.items():
        from bench.report.figures.style import save  # noqa: PLC0415 (matplotlib: only figures need it)

        paths += save(figure, folder / (f"{name}-{suffix}" if suffix else name))
    return paths


def markdown(output: Output, name: str) -> str:
    """The table with notes, runs and the commands that fill empty cells."""
    table, lines = output.table, []
    for number, each in enumerate(output.tables):
        lines += [f"{'##' if number else '#'} {each.title}", ""]
        lines += [_md_row(each.header), _md_row(["---"] * len(each.header)), *map(_md_row, each.body), ""]
    lines += [*(f"- {note}" for note in output.notes), ""]
    if output.figures:
        lines += [f"![{table.title}]({name}{f'-{s}' if s else ''}.png)" for s in output.figures] + [""]
    if output.commands:
        lines += ["## Empty cells", "", "These commands fill them:", "", "```", *output.commands, "```", ""]
    if output.runs:
        lines += ["## Runs", "", f"All figures come from these {len(output.runs)} records; `{name}.csv` says which "
                  "from which.", "", *_wrapped(output.runs), ""]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def as_csv(table: Table) -> str:
    """The data, one line each; empty if there are no figures."""
    out = io.StringIO()
    if table.data:
        writer = csv.DictWriter(out, list(table.data[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.data)
    return out.getvalue()


def latex(output: Output, name: str) -> str:
    """The tables for booktabs and makecell, with the runs as a comment."""
    lines = [r"% needs \usepackage{booktabs,makecell,graphicx}"]
    for number, table in enumerate(output.tables, 1):
        lines += _latex_table(table, f"{name}-{number}" if number > 1 else name)
    lines += [f"% {note}" for note in output.notes] + [f"% run {run}" for run in output.runs]
    return "\n".join(lines) + "\n"


def _latex_table(table: Table, label: str) -> list[str]:
    columns = "l" + "c" * (len(table.header) - 1)
    lines = [
        r"\begin{table*}", r"\centering", rf"\caption{{{_tex(table.title)}}}", rf"\label{{tab:{label}}}",
        r"\resizebox{\textwidth}{!}{%", rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
        " & ".join(_tex_cell(cell) for cell in table.header) + r" \\", r"\midrule",
    ]  # fmt: skip
    lines += [" & ".join(_tex_cell(cell) for cell in row) + r" \\" for row in table.body]
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}"]


def _md_row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"


def _wrapped(runs: tuple[str, ...], each: int = 6) -> list[str]:
    return [" ".join(f"`{run}`" for run in runs[i : i + each]) for i in range(0, len(runs), each)]


def _tex_cell(cell: str) -> str:
    parts = [_tex(part) for part in cell.split("\n")]
    return parts[0] if len(parts) == 1 else r"\makecell{" + r" \\ ".join(parts) + "}"


def _tex(text: str) -> str:
    return r"$\le$".join(_escaped(part) for part in text.split("<="))


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
