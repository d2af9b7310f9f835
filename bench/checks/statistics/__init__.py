"""Intervals, comparisons and stopping rules for robust accuracies; docs/statistics.md gives the reasons."""

from bench.checks.statistics.keys import AcrossKeys, across_keys
from bench.checks.statistics.multiple import holm
from bench.checks.statistics.paired import PairedTable, mcnemar, needed_images, newcombe
from bench.checks.statistics.proportion import exact, half_width, interval, wilson
from bench.checks.statistics.sequence import ConfidenceSequence
from bench.checks.statistics.two_phase import Counts, TwoPhase

__all__ = [
    "AcrossKeys",
    "ConfidenceSequence",
    "Counts",
    "PairedTable",
    "TwoPhase",
    "across_keys",
    "exact",
    "half_width",
    "holm",
    "interval",
    "mcnemar",
    "needed_images",
    "newcombe",
    "wilson",
]
