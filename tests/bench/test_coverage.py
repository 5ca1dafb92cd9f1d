"""The simulation of coverage and power: its arithmetic, a fast look at every interval, and the whole of it as a soak test."""

import json
import math

import numpy as np
import pytest

from marl_bench.bench import coverage_report as report
from marl_bench.bench.coverage import (
    Coverage,
    CoverageCase,
    Power,
    PowerCase,
    StatisticsResult,
    bench_statistics,
    simulate_coverage,
    simulate_power,
)
from marl_bench.bench.coverage_cases import coverage_cases
from marl_bench.bench.power_cases import power_cases
from marl_bench.bench.simulated_data import pass_at_k_truth
from marl_bench.cli import main
from marl_bench.errors import ConfigError
from marl_bench.statistics.intervals import Interval

COVERAGE = coverage_cases()
POWER = power_cases()


def _coin(chance: float, truth: float = 0.0, *, use: str = "report") -> CoverageCase:
    """An interval that holds 0 with a known chance, and lies above it else."""

    def make(rng: np.random.Generator) -> Interval:
        low = -1.0 if rng.random() < chance else 0.5
        return Interval(low, low, low + 2)

    return CoverageCase("coin", f"{chance}", "1", make, truth, use)


def test_coverage_counts_what_holds_the_truth():
    found = simulate_coverage(_coin(0.8), repetitions=2000)
    assert found.percent == pytest.approx(80, abs=3)
    assert found.too_high == 2000 - found.held
    assert found.half_width == 1.0
    # sqrt(.8 * .2 / 2000) = .89 points
    assert found.error == pytest.approx(0.89, abs=0.05)


def test_cases_without_an_interval_are_left_out():
    found = simulate_coverage(CoverageCase("none", "", "", lambda rng: None, 0.0), repetitions=5)
    assert (found.repetitions, found.intervals) == (5, 0)
    assert math.isnan(found.percent)


def test_what_covers_too_little_or_too_much_lies_outside():
    # 4,000 simulations: three standard errors are 1.03 points, so 93 - 1.03 = 91.97 and 97 + 1.03 = 98.03.
    inside, below, above = (Coverage(4000, 4000, held, 0, 1.0) for held in (3680, 3676, 3924))
    case = _coin(0.9)
    assert [found.lies_within(case) for found in (inside, below, above)] == [True, False, False]
    assert below.lies_within(_coin(0.9, use="naive"))


def test_power_lies_within_its_plan():
    case = PowerCase("test", "data", "1", lambda rng: bool(rng.random() < 0.7), 0.8, "known")
    assert simulate_power(case, repetitions=1000).percent == pytest.approx(70, abs=5)
    assert not Power(4000, 2800).lies_within(case)
    assert Power(4000, 3200).lies_within(case)


def test_the_same_case_gives_the_same_figures_whatever_stands_beside_it():
    case = COVERAGE[0]
    alone = simulate_coverage(case, repetitions=100)
    result = _bench([COVERAGE[5], case])
    assert result.coverage[1][1] == alone


def _bench(coverage, power=(), *, share=0.001, known=None, keep=lambda done, last: None):
    return bench_statistics(coverage, power, share=share, known=known or {}, keep=keep)


def test_a_call_that_was_cut_short_goes_on(tmp_path):
    path = tmp_path / "coverage.json"

    def cut_short(done, last):
        path.write_text(json.dumps(report.progress(done)), encoding="utf-8")
        if len(done) == 2:
            raise KeyboardInterrupt

    cases = COVERAGE[:3]
    with pytest.raises(KeyboardInterrupt):
        _bench(cases, keep=cut_short)
    made = []
    resumed = _bench(cases, known=report.known(path), keep=lambda done, last: made.append(last))
    assert made == [cases[2].name]
    assert resumed == _bench(cases)


def test_figures_of_other_code_or_of_fewer_simulations_are_not_taken_over(tmp_path):
    path = tmp_path / "coverage.json"
    content = report.progress({"x": {"repetitions": 100}})
    path.write_text(json.dumps({**content, "code": "0" * 16}), encoding="utf-8")
    assert report.known(path) == {}
    case = COVERAGE[0]
    stale = {case.name: {"repetitions": 7, "intervals": 7, "held": 0, "too_high": 0, "half_width": 1.0}}
    assert _bench([case], known=stale).coverage[0][1].repetitions == 100


@pytest.mark.parametrize("text", ["[]", "{", '{"rates": [1]}'])
def test_another_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "bench.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is no file of `marl-bench bench statistics`"):
        report.known(path)


def test_tables_mark_what_does_not_do_what_it_should():
    power = PowerCase("test", "data", "1", lambda rng: True, 0.8, "power.py")
    result = StatisticsResult(
        1.0,
        "0",
        [(_coin(0.95), Coverage(4000, 4000, 3800, 100, 0.25)), (_coin(0.5), Coverage(4000, 4000, 2000, 2000, 0.25))],
        [(power, Power(4000, 3200))],
    )
    used, powers = report.tables(result)  # nothing naive was simulated
    assert used.rows[0] == ["coin", "0.95", "1", "95.0 %", "0.7", "2.5 %", "0.25", "4,000", ""]
    assert used.rows[1][-1] == "!"
    assert powers.rows == [["test", "data", "1", "80.0 %", "80.0 %", "power.py", "4,000", ""]]
    assert "Outside of the range it is held in: coin; 0.5; 1." in report.as_markdown(result, command="x")
    assert json.loads(json.dumps(report.as_json(result)))["outside"] == ["coin; 0.5; 1"]


def _bench_verb(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "statistics", "--quiet", *arguments])
    return stop.value.code


def test_the_verb_prints_what_was_asked_for(capsys):
    assert _bench_verb("--only", "Cohen's kappa; two raters, three labels; 50", "--share", "0.001") == 0
    printed = capsys.readouterr().out
    assert "interval: Cohen's kappa" in printed and "simulations: 100" in printed
    assert "Rejections" not in printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--only", "kapa"], "no case has that in its name"),
        (["--only", "kappa", "--json", "x.json"], "the files hold all cases"),
    ],
)
def test_wrong_use_of_the_verb_exits_with_2(arguments, text, capsys):
    assert _bench_verb(*arguments) == 2
    assert text in capsys.readouterr().err


def test_an_interval_that_undercovers_makes_the_verb_exit_with_1(monkeypatch, capsys):
    monkeypatch.setattr("marl_bench.bench.coverage_cases.coverage_cases", lambda: [_coin(0.5)])
    assert _bench_verb("--only", "coin") == 1
    assert "1 cases lie outside of their range" in capsys.readouterr().err


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in [*COVERAGE, *POWER]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("k", [1, 3])
def test_the_truth_of_pass_at_k_by_simulation(k):
    chances = np.random.default_rng(0).beta(0.5, 1.5, 400_000)
    assert pass_at_k_truth(k) == pytest.approx(1 - ((1 - chances) ** k).mean(), abs=0.002)


def _small(case: CoverageCase) -> bool:
    prompts = int(case.size.split()[0].replace(",", ""))
    return case.use == "report" and prompts <= 50 and "Bradley" not in case.interval


@pytest.mark.parametrize("case", [case for case in COVERAGE if _small(case)], ids=lambda case: case.name)
def test_intervals_cover_what_they_say_at_small_sizes(case):
    # 300 simulations: three standard errors are 3.8 points beside the case's own range; an interval that covers 88 % or 80 % fails.
    assert simulate_coverage(case, repetitions=300).lies_within(case)


@pytest.mark.parametrize(
    ("interval", "most"),
    [
        ("Wilson, samples as if independent", 80),
        ("Student t, samples as if independent", 88),
        ("percentile bootstrap over seeds", 82),
    ],
)
def test_ignoring_clusters_or_resampling_few_seeds_undercovers(interval, most):
    case = next(case for case in COVERAGE if case.interval == interval)
    assert case.use == "naive"
    assert simulate_coverage(case, repetitions=300).percent < most


@pytest.mark.parametrize("case", POWER, ids=lambda case: case.name)
def test_tests_reject_as_planned(case):
    assert simulate_power(case, repetitions=200).lies_within(case)


@pytest.mark.soak
@pytest.mark.parametrize("case", [case for case in COVERAGE if case.use == "report"], ids=lambda case: case.name)
def test_intervals_cover_what_they_say(case):
    found = simulate_coverage(case, repetitions=case.repetitions)
    assert found.lies_within(case), found


@pytest.mark.soak
@pytest.mark.parametrize("case", POWER, ids=lambda case: case.name)
def test_tests_reject_as_planned_in_many_simulations(case):
    found = simulate_power(case, repetitions=case.repetitions)
    assert found.lies_within(case), found


@pytest.mark.soak
def test_naive_intervals_of_clustered_data_undercover():
    clustered = [case for case in COVERAGE if case.use == "naive" and "ties" not in case.data]
    found = {case.name: simulate_coverage(case, repetitions=1000).percent for case in clustered}
    assert all(percent < 94 for percent in found.values()), found
