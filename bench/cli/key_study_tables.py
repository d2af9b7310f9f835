"""The tables of a key study."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.cli.console import make_console
from bench.cli.show import percent, plugin
from bench.store.keystudies import Cosine, FirstLayers, KeyStudyRecord


def print_study(record: KeyStudyRecord, path: Path) -> None:
    """Everything except single pairs of models, which are in the record."""
    console, run = make_console(), record.spec.run
    console.print(f"{plugin(run.defense.name, run.defense.options)}, {run.budget}, {record.images} images, "
                  f"{record.spec.devices} devices", markup=False)  # fmt: skip
    _gradients(console, record)
    _matrix(console, record)
    _substitutes(console, record)
    _keys(console, record)
    _estimation(console, record)
    for text in record.notes:
        console.print(f"note: {text}", markup=False)
    console.print(f"key study {record.study_id}: {path}", markup=False, soft_wrap=True)


def _gradients(console: Console, record: KeyStudyRecord) -> None:
    table = Table("input gradients of", "pairs", "loss", "cosine", "5 - 95%", "equal channels averaged",
                  "first layers", title="1. gradients in pixel space", title_justify="left")  # fmt: skip
    layers: dict[str, list[FirstLayers]] = {}
    for layer in record.first_layers:
        layers.setdefault(layer.kind, []).append(layer)
    for (kind, loss), group in groupby(sorted(record.cosines, key=_by_kind), key=lambda c: (c.kind, c.loss)):
        if kind == "other models":
            continue
        pairs = list(group)
        low = _mean([c.quantiles[0] for c in pairs if c.quantiles])
        high = _mean([c.quantiles[-1] for c in pairs if c.quantiles])
        mean = _mean([c.mean for c in pairs if c.mean is not None])
        shared = _mean([c.shared for c in pairs if c.shared is not None])
        table.add_row(kind, str(len(pairs)), loss, mean, f"{low} - {high}", shared, _layers(layers.get(kind, [])))
    console.print(table)


# In order of decreasing similarity.
_ORDER = (
    "itself nearby",
    "two devices",
    "device and keyed substitute",
    "two keyed substitutes",
    "device and key-free substitute",
    "device and base",
    "itself, another image",
    "random direction",
    "other models",
)


def _by_kind(cosine: Cosine) -> tuple[int, int]:
    return _ORDER.index(cosine.kind), int(cosine.loss != "margin")


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "-"


def _layers(pairs: list[FirstLayers]) -> str:
    """All weights as one vector; the same after averaging channels that are equal in the data."""
    shared = [pair.shared for pair in pairs if pair.shared is not None]
    return " / ".join([_mean([pair.whole for pair in pairs])] + ([_mean(shared)] if shared else []))


def _matrix(console: Console, record: KeyStudyRecord) -> None:
    n, attack = record.spec.devices, record.spec.run.attack.name
    table = Table("robust accuracy", *(f"device {j} judged" for j in range(n)), title_justify="left",
                  title=f"2. transfer between devices, {attack}; the diagonal is white-box")  # fmt: skip
    for i in range(n):
        row = [cell for cell in record.matrix if cell.compromised == i]
        table.add_row(f"device {i} held", *(_robust(c.robust_accuracy, c.interval) for c in row))
    console.print(table)


def _substitutes(console: Console, record: KeyStudyRecord) -> None:
    if not record.substitutes:
        return
    table = Table("attack", "keyed substitute", "key-free substitute", "keyed minus key-free", "p (Holm)",
                  title="3. substitutes with and without a key, on device 0", title_justify="left")  # fmt: skip
    for s in record.substitutes:
        low, high = s.difference_interval
        difference = f"{100 * (s.keyed - s.key_free):+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) points"
        table.add_row(s.attack, _robust(s.keyed, s.keyed_interval), _robust(s.key_free, s.key_free_interval),
                      difference, f"{s.p_holm:.2g}")  # fmt: skip
    console.print(table)
    console.print("one substitute of each kind: intervals and p-values are over images, not over keys")


def _keys(console: Console, record: KeyStudyRecord) -> None:
    table = Table("key", "tries", "entries moved", "mean accuracy", "lowest", "highest", title_justify="left",
                  title="4. clean accuracy of device 0 with keys that are not its own")  # fmt: skip
    for at in record.distance:
        far = f"{at.exchanges} swap{'s' * (at.exchanges != 1)} from the correct key"
        name = "a random order" if at.exchanges is None else far
        table.add_row(name, str(at.draws), percent(at.moved), percent(at.mean), percent(at.low), percent(at.high))
    if keys := record.keys:
        table.add_row("random wrong keys", str(keys.wrong_keys), "", percent(keys.mean),
                      f"{percent(keys.quantiles[0])} (5%)", percent(keys.high))  # fmt: skip
        table.add_row("no key", "1", "", percent(keys.none), "", "")
        table.add_row("the correct key", "1", "", percent(keys.right), "", "")
    if table.row_count:
        console.print(table)


def _estimation(console: Console, record: KeyStudyRecord) -> None:
    if not record.estimation:
        return
    table = Table("how", "guesses", "forwards", "entries right", "up to equal channels", "clean accuracy",
                  title="5. the key estimated from leaked weights", title_justify="left")  # fmt: skip
    for g in record.estimation:
        table.add_row(g.how, f"{g.guesses:,}", f"{g.forwards:,}", percent(g.entries), percent(g.positions),
                      percent(g.accuracy))  # fmt: skip
    console.print(table)


def _robust(accuracy: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"<= {percent(accuracy)} ({100 * low:.1f} - {100 * high:.1f})"
