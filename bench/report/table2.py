"""Table II of arXiv:2311.16577: number of trained weights."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.output import Output, Table
from bench.report.reported import reported


@dataclass(frozen=True)
class Table2:
    """Numbers of weights, counted on the real models."""

    model: str
    full: int
    lora: int
    with_adapters: int

    @property
    def lora_percent(self) -> float:
        """LoRA's share of all weights, including adapters, as in peft and the paper."""
        return 100 * self.lora / self.with_adapters

    def rows(self) -> list[dict[str, str]]:
        """Measured next to reported, rounded as in the paper."""
        (paper,) = reported("table2")
        return [
            _row(self.model, "full", self.full, None, paper["trainable_full_millions"], ""),
            _row(self.model, "LoRA", self.lora, self.lora_percent, paper["trainable_lora_millions"],
                 paper["lora_percent"]),
        ]  # fmt: skip

    def output(self) -> Output:
        """The rows as a table."""
        rows = self.rows()
        body = tuple(tuple(row.values()) for row in rows)
        said = "agree" if self.agrees else "differ"
        return Output(
            Table("Table II of arXiv 2311.16577: weights that are trained", tuple(rows[0]), body, tuple(rows)),
            notes=(f"Counted on the real architectures; measured and reported figures {said}.",),
        )

    @property
    def agrees(self) -> bool:
        """Whether every figure printed in the paper is reproduced."""
        return all(row["measured"] == row["reported"] for row in self.rows())


def _row(model: str, kind: str, count: int, percent: float | None, millions: str, share: str) -> dict[str, str]:
    def said(value: str, part: str) -> str:
        return f"{value} M ({part}%)" if part else f"{value} M"

    measured = said(f"{count / 1e6:.2f}", "" if percent is None else f"{percent:.2f}")
    return {"model": model, "fine-tuning": kind, "weights": f"{count:,}", "measured": measured,
            "reported": said(millions, share)}  # fmt: skip
