"""The limit on a perturbation: a norm and an exact radius on the [0, 1] pixel scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from pydantic_core import CoreSchema, core_schema

from bench.core.errors import InputError

_DIGITS = 30  # of numerator and denominator: any float's decimals fit; longer ones are mistakes
_HUGE = re.compile(r"e[+-]?[\d_]{3}", re.IGNORECASE)  # a Fraction of such a text takes too long


class Norm(StrEnum):
    """The norms of a perturbation."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"


def parse_norm(text: str) -> Norm:
    """Parse the name of a norm.

    Raises:
        InputError: if the name is not one of linf, l2, l1.
    """
    try:
        return Norm(text.strip().lower())
    except ValueError:
        known = ", ".join(Norm)
        raise InputError(f"unknown norm {text!r}; expected one of {known}, e.g. --norm linf --eps 4/255") from None


def parse_eps(text: str) -> Fraction:
    """Parse a radius written as a fraction or a decimal: ``4/255``, ``0.5``, ``0``.

    Raises:
        InputError: if the text is not a number, is negative, or has more than 30 digits.
    """
    text = text.strip()
    try:
        eps = Fraction("" if _HUGE.search(text) else text)
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"eps {text[:40]!r} is not a number; expected a fraction or decimal such as 4/255 or 0.1"
        ) from None
    if max(abs(eps.numerator), eps.denominator) >= 10**_DIGITS:
        raise InputError(f"eps {text[:40]!r} has more than {_DIGITS} digits; expected one such as 4/255 or 0.1")
    if eps < 0:
        raise InputError(f"eps is {text}, which is negative; expected 0 or more on the [0, 1] pixel scale")
    return eps


@dataclass(frozen=True)
class Budget:
    """A norm ball: ``eps`` is an exact fraction on the [0, 1] pixel scale (4/255, not 4).

    In stored data it is a text, ``linf:4/255``, in lowest terms.
    """

    norm: Norm
    eps: Fraction

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse ``linf:4/255`` or ``l2:0.5``.

        Raises:
            InputError: if the text is not NORM:EPS, or either part is invalid.
        """
        norm, colon, eps = text.partition(":")
        if not colon:
            raise InputError(f"budget {text!r} is not NORM:EPS; expected e.g. linf:4/255 or l2:0.5")
        return cls(parse_norm(norm), parse_eps(eps))

    @property
    def radius(self) -> float:
        """``eps`` as a float."""
        return float(self.eps)

    @property
    def doubt(self) -> str | None:
        """Why this radius is probably a typo, or None."""
        if self.norm is Norm.LINF and self.eps > 1:
            meant = f"{self.eps}/255" if self.eps <= 255 else "a value in [0, 1]"
            return (
                f"eps {self.eps} under linf is larger than the whole pixel range [0, 1]; did you mean {meant}? "
                "(eps is on the [0, 1] pixel scale)"
            )
        return None

    def __str__(self) -> str:
        return f"{self.norm}:{self.eps}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        written = core_schema.no_info_after_validator_function(_read, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=written,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), written]),
            serialization=core_schema.to_string_ser_schema(when_used="always"),
        )


def _read(text: str) -> Budget:
    """A stored budget: one text per budget, because run ids are computed from it."""
    try:
        budget = Budget.parse(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    if str(budget) != text:
        raise ValueError(f"is {text[:40]}; expected {budget}")
    return budget
