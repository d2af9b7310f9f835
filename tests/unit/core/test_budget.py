from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.core.ball import allowance, distance, project, random_start, steepest
from bench.core.budget import Budget, Norm
from bench.core.errors import InputError
from bench.core.frozen import Frozen


def test_eps_is_exact_and_survives_being_written():
    budget = Budget.parse("linf:4/255")
    assert budget == Budget(Norm.LINF, Fraction(4, 255))
    assert str(budget) == "linf:4/255"
    assert Budget.parse("l2:0.5").eps == Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("linf:-1", "negative"),
        ("linf:four", "not a number"),
        ("linf:1/0", "not a number"),
        ("l3:1", "unknown norm 'l3'"),
        ("0.1", "not NORM:EPS"),
        ("linf:1e999999999", "not a number"),
        ("linf:1e1_000_000_000", "not a number"),
        (f"linf:1/1{'0' * 30}", "more than 30 digits"),
    ],
)
def test_a_bad_budget_is_refused(text, says):
    with pytest.raises(InputError, match=says):
        Budget.parse(text)


class Written(Frozen):
    budget: Budget


def test_a_budget_is_written_as_its_text_and_read_back():
    written = Written(budget=Budget(Norm.LINF, Fraction(1, 10)))
    assert written.model_dump() == written.model_dump(mode="json") == {"budget": "linf:1/10"}
    assert Written.model_validate_json(written.model_dump_json()) == Written(budget="linf:1/10") == written
    assert Written.model_json_schema()["properties"]["budget"]["type"] == "string"


@pytest.mark.parametrize(
    "text", ["linf:2/20", "linf:0.1", "linf:1e-1", " linf:1/10", "linf:1/10 ", "LINF:1/10", "l2:1_0"]
)
def test_one_budget_has_one_text_in_data(text):
    assert Budget.parse(text).eps
    with pytest.raises(ValidationError, match=r"expected (linf:1/10|l2:10)"):
        Written(budget=text)


@pytest.mark.parametrize("text", ["linf:1e999999999", "linf:-1/10", "linf:1/0", "l7:1", "linf", 0.1, None])
def test_no_budget_is_read_from_what_is_none(text):
    with pytest.raises(ValidationError):
        Written(budget=text)


def test_four_looks_like_four_out_of_255():
    assert "4/255" in (Budget.parse("linf:4").doubt or "")
    assert Budget.parse("linf:1").doubt is None
    assert Budget.parse("l2:4").doubt is None


norms = st.sampled_from(list(Norm))
radii = st.sampled_from(["0", "1/255", "4/255", "0.1", "0.5", "3", "40"])


@given(norms, radii, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_projections_and_starts_are_feasible(norm, eps, seed):
    budget = Budget.parse(f"{norm}:{eps}")
    g = torch.Generator().manual_seed(seed)
    center = torch.rand(4, 3, 8, 8, generator=g)
    noise = torch.rand(center.shape, generator=g) * 2 - 1
    for x in (project(center + 3 * noise, center, budget), random_start(center, noise, budget)):
        assert (distance(x, center, norm) <= budget.radius + allowance(budget, 192)).all()
        assert ((x >= 0) & (x <= 1)).all()


@given(norms)
def test_a_feasible_image_is_its_own_projection(norm):
    budget = Budget.parse(f"{norm}:0.5")
    center = torch.full((2, 3, 4, 4), 0.5)
    inside = center + 0.001
    torch.testing.assert_close(project(inside, center, budget), inside)


def test_the_steepest_step_has_unit_norm_and_gains_the_dual_norm():
    gradient = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    flat = gradient.flatten(1)
    for norm, dual in ((Norm.LINF, 1), (Norm.L2, 2)):
        step = steepest(gradient, norm)
        torch.testing.assert_close(distance(step, torch.zeros_like(step), norm), torch.ones(3))
        torch.testing.assert_close((step * gradient).flatten(1).sum(1), torch.linalg.vector_norm(flat, dual, dim=1))
    torch.testing.assert_close(steepest(gradient, Norm.L1).flatten(1).abs().sum(1), torch.ones(3))
