"""Tables and figures of cross-key, iterations, queries and the ladder, from records alone."""

import pytest

from bench.checks.statistics import across_keys, interval
from bench.core.nouns import Outcome
from bench.report.cross_key import cross_key
from bench.report.iterations import iterations
from bench.report.ladder import ladder
from bench.report.queries import queries
from bench.store.run import Run
from bench.store.suites import Cell
from tests.unit.report.synthetic import run
from tests.unit.report.test_figures import ladder as ladder_record


def cell(row, column, found, *, attack=None):
    """A cell of a run, with other options of its attack."""
    record = found.record
    if attack:
        options = {**record.spec.attack.options, **attack}
        spec = record.spec.model_copy(update={"attack": record.spec.attack.model_copy(update={"options": options})})
        record = record.model_copy(update={"spec": spec, "run_id": spec.run_id})
    return Cell(row, column, record.spec.device, f"bench run {column}", Run(record, found.rows))


def missing(row, column):
    return Cell(row, column, 0, f"bench run {column}", None)


def steps(threat, count, robust, **more):
    made = run(threat=threat, attack="pgd", robust=robust, images=100, clean=1.0, **more)
    return cell("key-lora", f"{threat}@{count}", made, attack={"steps": count})


def asked(threat, attack, count, robust):
    made = run(threat=threat, attack=attack, threat_options={"queries": count}, robust=robust, images=100, clean=1.0)
    return cell("key-lora", f"{threat}@{count}", made)


class TestIterations:
    def test_every_point_is_a_run_with_its_interval(self):
        cells = [steps("white-box", 1, 0.3), steps("white-box", 50, 0.0), steps("non-adaptive", 50, 0.8),
                 steps("non-adaptive", 1, 0.9)]  # fmt: skip
        output = iterations(cells)
        assert [(d["threat"], d["iterations"], d["robust_accuracy"]) for d in output.table.data] == [
            ("non-adaptive", 1, 0.9),
            ("non-adaptive", 50, 0.8),
            ("white-box", 1, 0.3),
            ("white-box", 50, 0.0),
        ]
        assert [(d["low"], d["high"]) for d in output.table.data] == [interval(k, 100) for k in (90, 80, 30, 0)]
        assert {d["runs"] for d in output.table.data} == set(output.runs) == {c.record.run_id for c in cells}
        assert all(len(body) == len(output.table.header) for body in output.table.body)
        assert all(set(d) == set(output.table.data[0]) for d in output.table.data)
        (axes,) = output.figures[""].axes
        drawn = {tuple(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.get_lines()}
        assert {((1, 90), (50, 80)), ((1, 30), (50, 0))} <= drawn

    def test_what_was_not_run_is_left_out_and_its_command_said(self):
        output = iterations([steps("adaptive", 5, 0.5), missing("key-lora", "adaptive@10"), missing("other", "x")])
        assert len(output.table.body) == 1
        assert output.commands == ("bench run adaptive@10", "bench run x")
        assert [t.get_text() for t in output.figures[""].axes[1].texts] == ["not measured yet"]

    def test_nothing_run_at_all(self):
        output = iterations([missing("key-lora", "a")])
        assert output.table.body == ()
        assert output.commands == ("bench run a",)
        assert output.runs == ()

    def test_several_keys_are_one_point(self):
        cells = [steps("adaptive", 5, share, device=i) for i, share in enumerate((0.2, 0.5, 0.6))]
        (data,) = iterations(cells).table.data
        robust = [[row.outcome is Outcome.ROBUST for row in c.rows] for c in cells]
        found = across_keys(robust, seed=0)
        assert data["robust_accuracy"] == pytest.approx(found.mean)
        assert (data["low"], data["high"]) == pytest.approx(found.interval)
        assert (data["keys"], len(data["runs"].split())) == (3, 3)

    def test_a_run_without_steps_is_named(self):
        output = iterations([cell("key-lora", "odd", run(threat="query-score", attack="square"))])
        assert output.table.body == ()
        assert any("key-lora odd" in note for note in output.notes)

    def test_a_run_that_is_ruled_out_is_said(self):
        cells = [cell("key-lora", "a", run(attack="pgd", errors=2), attack={"steps": 3})]
        assert any(cells[0].record.run_id in note and "ERROR" in note for note in iterations(cells).notes)


class TestQueries:
    def test_places_are_what_may_be_asked(self):
        cells = [asked("query-score", "square", n, r) for n, r in ((30, 0.9), (1000, 0.2))]
        cells += [asked("query-decision", "rays", n, r) for n, r in ((30, 1.0), (1000, 0.4))]
        output = queries(cells)
        assert [(d["threat"], d["queries"], d["robust_accuracy"]) for d in output.table.data] == [
            ("query-score", 30, 0.9),
            ("query-score", 1000, 0.2),
            ("query-decision", 30, 1.0),
            ("query-decision", 1000, 0.4),
        ]
        assert output.figures[""].axes[0].get_xscale() == "log"

    def test_the_attack_may_ask_less_than_the_threat_allows(self):
        made = run(threat="query-score", attack="square", threat_options={"queries": 9000})
        (data,) = queries([cell("r", "c", made)]).table.data
        assert data["queries"] == 5000  # Square's own

    def test_an_attack_that_asks_nothing_is_left_out(self):
        assert queries([cell("r", "c", run(threat="white-box"))]).table.body == ()


class TestCrossKey:
    def grid(self, n=3, row="key-full", skip=()):
        out = []
        for i in range(n):
            for j in range(n):
                if (i, j) in skip:
                    out.append(missing(row, f"{i}-{j}"))
                    continue
                other = {"threat": "cross-key", "threat_options": {"compromised": i}}
                threat = {"threat": "white-box"} if i == j else other
                share = 0.0 if i == j else (10 * i + j) / 100
                out.append(cell(row, f"{i}-{j}", run(**threat, device=j, robust=share, images=100, clean=1.0)))
        return out

    def test_rows_make_images_and_columns_are_judged(self):
        cells = self.grid()
        output = cross_key(cells)
        found = {(d["made_on"], d["judged_on"]): d for d in output.table.data}
        assert len(found) == 9
        assert found[2, 1]["robust_accuracy"] == 0.21
        assert (found[2, 1]["low"], found[2, 1]["high"]) == interval(21, 100)
        assert found[1, 1]["tier"] == "T5"
        assert set(output.runs) == {c.record.run_id for c in cells}
        assert output.table.body[2][:2] == ("key-full", "2")
        assert output.table.body[2][3].startswith("<= 21.0 [")
        values = output.figures[""].axes[0].images[0].get_array()
        assert values[2, 1] == pytest.approx(21)
        assert any("11.0%" in note for note in output.notes)  # (1 + 2 + 10 + 12 + 20 + 21) / 6

    def test_a_cell_that_was_not_run_is_empty(self):
        output = cross_key(self.grid(skip={(0, 1)}))
        assert output.commands == ("bench run 0-1",)
        assert output.table.body[0][3] == "-"
        assert len(output.table.data) == 8

    def test_two_defenses_of_different_size(self):
        output = cross_key(self.grid(2, "a") + self.grid(3, "b"))
        assert {len(body) for body in output.table.body} == {len(output.table.header)}
        assert [axes.get_title() for axes in output.figures[""].axes[:2]] == ["a", "b"]

    def test_nothing_run_at_all(self):
        output = cross_key([missing("a", "0-0")])
        assert (output.figures, output.table.body, output.commands) == ({}, (), ("bench run 0-0",))


def test_a_ladder_lists_its_rungs_and_the_paper_s():
    record = ladder_record()
    output = ladder(record)
    assert len(output.table.body) == len(output.table.data) == len(record.rungs) + len(record.paper)
    assert all(len(body) == len(output.table.header) for body in output.table.body)
    kinds = [d["kind"] for d in output.table.data]
    assert kinds.count("as the paper measured") == 1
    assert output.table.data[-1]["worst_so_far"] is None
    assert any("source too weak" in body[4] for body in output.table.body)
    assert any("First broken by T3" in note for note in output.notes)
    assert len([n for n in output.notes if n.startswith("Up to ")]) == len(record.tiers)
    assert output.figures[""].axes
