"""The control under a transfer table."""

from bench.report.controls import control_lines
from bench.store.record import Controls


def test_runs_of_a_group_count_by_their_images():
    first = Controls(images=100, own=0.0, other=0.9, noise=1.0)
    second = Controls(images=300, own=0.4, other=None, noise=0.8)
    (line,) = control_lines("key-lora", [("T0", first), ("T1", None), ("T0", second), ("T5", second)])
    assert line.endswith("T0 90.0 / 85.0 / 30.0, T5 - / 80.0 / 40.0.")
    assert line.startswith("Control, key-lora: ")


def test_without_controls_there_is_no_line():
    assert control_lines("key-lora", [("T0", None)]) == []
