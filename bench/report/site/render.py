"""Templates and data files: everything from a record is escaped here, and nothing is marked as safe."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.checks.suites import SUITES
from bench.report.site import formats

# Only files of the site itself; no inline script or style, and no other requests.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)


@cache
def environment() -> Environment:
    """The templates, all with escaping, whatever their name."""
    made = Environment(
        loader=PackageLoader("bench.report.site", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(percent=formats.percent, at_most=formats.at_most, limits=formats.limits, value=formats.value)
    made.globals.update(policy=POLICY, tiers=formats.TIERS, suites=SUITES)
    return made


def page(template: str, **context: Any) -> bytes:
    """A page of the site."""
    return environment().get_template(template).render(**context).encode()


def script(target: str, data: Any) -> bytes:
    """A classic script that assigns ``data`` to ``target`` for the pages' scripts.

    JSON is JavaScript except for two line separators; ``<`` is escaped so that it cannot start a tag.

    Args:
        target: An expression from this code, never from a record.
        data: JSON-compatible data.

    Raises:
        ValueError: if a number is not finite.
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for char in "<\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f"{target} = {text};\n".encode()
