"""The notes under Table I: reading guide, runs, and differences of a profile other than the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.board.names import adversary_title
from bench.report.controls import control_notes
from bench.store.suites import Cell

PAPER_PROFILE = "imagenet"  # on which a reported figure is the same experiment
_NOTES = (
    "Percent of all images, with 95% intervals: Wilson for one key, over keys and images for several "
    "(docs/statistics.md). Robust accuracy is an upper bound: a stronger attack can only lower it.",
    "Protocol paper: images that the source misclassifies are left clean. Robust accuracy counts images that are "
    "correct without and with the attack; the paper's metric counts those that are correct under attack, whatever the "
    "clean prediction, and is given where it differs in the first decimal (`papers_metric` of the CSV file). Never "
    "compare these columns with the strict ones, which attack every image.",
    "Best single attack: the strict run up to T1+ that leaves least, one attack for all images. Worst case of k tries: "
    "share of images that are robust in each of the k strict runs up to the tiers named; an adversary without feedback "
    "does not know which try succeeds on which image. Rows without a key: all strict runs. Mean over keys.",
    "In 8 bits: the worst case of the same runs after every adversarial image is rounded to 8 bits inside the ball.",
    "Controls: share of the images correct without attack that stay correct under another image's perturbation, under "
    "noise of the same size, and under their own perturbation, of the best single attack (mean over keys).",
    "First broken by: the first tier up to which less than half of the clean accuracy remains in the worst case.",
    "Several keys are devices of one maker; they share the adversary's models, so the interval over keys is for these "
    "models only. If no image survives under any key, the interval is that of the images alone.",
    "† White-box: the adversary attacks the judged model itself. The reported rows of adversarially trained models are "
    "white-box on 5,000 images (RobustBench), whatever the paper's caption says.",
)
_ON_DIGITS = (
    "What digits cannot show: the paper's main finding on LoRA, whose accuracy under the adaptive l∞ attack falls to "
    "51.56, 7.62 and 0.73% at P = 4, 8 and 16. Small models on digits do not show it."
)
_MAKE = (
    "All runs at once: `bench reproduce table1 --profile imagenet --data DIR`, after `bench train` has trained the "
    "models, or with `--train`; `bench plan configs/imagenet/table1.yaml` estimates the time."
)


def notes_under(cells: Sequence[Cell], profile: str) -> tuple[str, ...]:
    """The notes of a table of these cells, run in this profile."""
    about = (_MAKE,) if profile == PAPER_PROFILE else (_elsewhere(profile, cells), *_not_shown(profile))
    return (*_NOTES, *_attacks(cells), *control_notes(cells), *about)


def _attacks(cells: Sequence[Cell]) -> list[str]:
    """The runs in every column, with their non-default options."""
    by_column: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.record is not None:
            by_column.setdefault(cell.column, {})[adversary_title(cell.record)] = None
    said = [f"{column}: {' or '.join(titles)}" for column, titles in by_column.items()]
    return [f"Runs by column of the suite: {'; '.join(said)}."] if said else []


def _elsewhere(profile: str, cells: Sequence[Cell]) -> str:
    budgets = dict.fromkeys(str(c.record.spec.budget) for c in cells if c.record)
    return (
        f"Profile {profile} is another data set, model and radius ({', '.join(budgets)}) than the paper's ImageNet, "
        "4/255 and 0.5. Each row gives the timm model that its network is made from, and the row of Table I that it "
        "stands for; the paper's figures are in the table of profile imagenet."
    )


def _not_shown(profile: str) -> tuple[str, ...]:
    return (_ON_DIGITS,) if profile == "digits" else ()
