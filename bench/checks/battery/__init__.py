"""The battery: measured signs that an evaluation overestimates the defense, and adaptive attacks against each."""

from bench.checks.battery.answers import answers, judged
from bench.checks.battery.attacking import CheckEffort
from bench.checks.battery.examine import battery, quick
from bench.checks.battery.finding import Answer, Finding, Status
from bench.checks.battery.subject import Subject

__all__ = ["Answer", "CheckEffort", "Finding", "Status", "Subject", "answers", "battery", "judged", "quick"]
