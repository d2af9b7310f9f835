"""The strict figures of Table I over several keys and attacks, computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bench.engine.summarise import metrics_of
from bench.report.table1 import table1
from bench.store.run import Run
from bench.store.suites import Cell
from tests.unit.report.synthetic import run

N = 100
# Images that stand, by attack and device; the clean accuracy is 1.
STANDS = {"transfer": (range(40), range(60)), "pgd": (range(20, 50), range(100))}


def cell(attack: str, device: int) -> Cell:
    mask = np.isin(np.arange(N), list(STANDS[attack][device]))
    found = run(defense="key-full", attack=attack, robust=mask, images=N, clean=1.0, device=device)
    wrong = [(row.label + 1) % 10 for row in found.rows]
    rows = tuple(
        replace(
            row,
            other_prediction=row.label if i % 10 else wrong[i],  # 90% stay right
            noise_prediction=row.label if i % 20 else wrong[i],  # 95%
            quantized_prediction=row.label if row.robust or i == 99 else wrong[i],
            distance=row.distance or 0.1,
        )
        for i, row in enumerate(found.rows)
    )
    record = found.record.model_copy(update={"metrics": metrics_of(rows)})
    return Cell("row", f"{attack}", device, "", Run(record, rows))


@pytest.fixture(scope="module")
def output():
    return table1([cell(attack, device) for attack in STANDS for device in (0, 1)], "digits")


@pytest.fixture(scope="module")
def lines(output):
    return {line["column"]: line for line in output.table.data}


def test_the_best_single_attack_is_one_for_all_keys(lines):
    assert lines["strict_best_single"]["measured"] == pytest.approx((0.4 + 0.6) / 2)  # pgd: (0.3 + 1.0) / 2
    assert lines["strict_best_single"]["tries"] == 1
    assert len(lines["strict_best_single"]["runs"].split()) == 2


def test_the_worst_case_is_by_image_and_says_its_tries(output, lines):
    assert lines["strict_worst_case"]["measured"] == pytest.approx((0.2 + 0.6) / 2)
    assert lines["strict_worst_case"]["tries"] == 2
    assert len(lines["strict_worst_case"]["runs"].split()) == 4
    (strict,) = output.beside
    shown = dict(zip(strict.header, strict.body[0], strict=True))
    assert "k = 2" in shown["worst case of k tries"]
    assert shown["best single attack"].startswith("<= 50.0")


def test_eight_bits_have_a_figure_of_their_own(lines):
    assert lines["strict_worst_case_8_bits"]["measured"] == pytest.approx((0.21 + 0.61) / 2)


def test_controls_are_of_the_best_single_attack(output, lines):
    shares = [lines[f"control_{name}"]["measured"] for name in ("other", "noise", "own")]
    assert shares == pytest.approx([0.9, 0.95, 0.5])
    (strict,) = output.beside
    assert "90.0, 95.0, 50.0" in strict.body[0]


def test_without_further_measurements_the_cells_are_empty():
    found = run(defense="key-full", attack="transfer", images=N)
    (strict,) = table1([Cell("row", "a", 0, "", Run(found.record, found.rows))], "digits").beside
    shown = dict(zip(strict.header, strict.body[0], strict=True))
    assert shown["the same in 8 bits"] == "-"
    assert shown["queries (T2)"] == shown["white-box (T5)"] == "-"
