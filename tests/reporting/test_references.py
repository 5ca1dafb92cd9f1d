"""References: what they keep, the same bytes every time, and runs held against them."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from marl_bench.errors import RecordError, RunFolderError, UnknownNameError, UnscoredError
from marl_bench.reporting.reference_check import check_reference, check_table
from marl_bench.reporting.reference_listing import listing_table
from marl_bench.reporting.references import REFERENCE, read_reference, save_reference
from marl_bench.reporting.regression import Margin
from marl_bench.reporting.side_by_side import compare_sides
from marl_bench.reporting.sides import open_side
from marl_bench.run_dir import write_text_atomically

SCORE = "reward_model_score"
BASE = [float(place) for place in range(8)]


def shifted(by):
    return [value + by + (0.01 if place % 2 else -0.01) for place, value in enumerate(BASE)]


@pytest.fixture
def references(tmp_path):
    return tmp_path / "references"


@pytest.fixture
def save(references):
    def saved(run, *, name="kept", force=False):
        side = open_side(str(run.root), reference_dir=references)
        return save_reference(side.cells, side.config, name=name, reference_dir=references, force=force)

    return saved


@pytest.fixture
def run(tmp_path, write_cells, make_cell):
    """Returns a function from a name and the values of each arm and seed to a stored run."""

    def written(name, values, **changes):
        cells = [
            make_cell(arm, seed, {SCORE: column, "kl": [abs(value or 0.0) for value in column]}, **changes)
            for arm, columns in values.items()
            for seed, column in enumerate(columns)
        ]
        return write_cells(tmp_path / name, cells)

    return written


def check(run, references, *margins, name="kept", max_unscored=0.02):
    return check_reference(str(run.root), list(margins), name=name, reference_dir=references, max_unscored=max_unscored)


def statuses(found):
    return {(row.arm, row.metric): row.status for row in found.rows}


def test_the_same_run_gives_the_same_bytes_whatever_the_clock_said(run, save, make_cell, write_cells, tmp_path):
    first = save(run("a", {"sft": [BASE]}), name="a").read_bytes()
    later = run("b", {"sft": [BASE]}, costs={"seconds": {"total": 99.0}, "finished_at": "2030-01-01T00:00:00+00:00"})
    assert save(later, name="b").read_bytes() == first
    assert b"2030" not in gzip.decompress(first)
    assert first[4:8] == b"\0\0\0\0"  # gzip's own date


def test_a_reference_gives_back_every_score(run, save, references):
    stored = run("a", {"sft": [BASE, shifted(1)], "token_ppo": [shifted(2), shifted(1 / 3)]})
    kept = read_reference(save(stored).parent)
    own = open_side(str(stored.root), reference_dir=references).cells
    for one, other in zip(kept.cells, own, strict=True):
        assert (one.record.arm, one.record.seed) == (other.record.arm, other.record.seed)
        order = np.argsort(other.columns.prompt_ids)
        np.testing.assert_array_equal(one.columns.prompt_means(SCORE), other.columns.prompt_means(SCORE)[order])
        np.testing.assert_array_equal(one.columns.prompt_checks, other.columns.prompt_checks[order])


def test_a_run_compares_with_its_reference_as_with_itself(run, save, references):
    old, new = (
        run("old", {"sft": [BASE], "token_ppo": [shifted(1)]}),
        run("new", {"sft": [shifted(2)], "token_ppo": [BASE]}),
    )
    save(old)
    sides = [open_side(str(one), reference_dir=references) for one in (old.root, "kept", new.root)]
    with_run, with_reference = compare_sides([sides[0], sides[2]]), compare_sides([sides[1], sides[2]])
    for one, other in zip(with_run.contrasts, with_reference.contrasts, strict=True):
        assert one.difference.over_prompts == other.difference.over_prompts
        assert one.p_holm == other.p_holm


def test_replacing_another_reference_needs_force(run, save):
    save(run("a", {"sft": [BASE]}))
    save(run("a2", {"sft": [BASE]}))  # the same bytes: nothing is lost
    other = run("b", {"sft": [shifted(1)]})
    with pytest.raises(RunFolderError, match=r"another reference of that name"):
        save(other)
    save(other, force=True)


def test_paths_of_the_machine_are_not_kept(tmp_path, write_cells, make_cell, save):
    stored = write_cells(tmp_path / "a", [make_cell("sft", 0, {SCORE: BASE})])
    write_text_atomically(
        stored.config,
        "config_hash: c\ndata: {source: /home/somebody/posts}\nreward: {sources: ['python:/home/somebody/f.py:f', '0.5*/home/x']}\n",
    )
    content = json.loads(gzip.decompress(save(stored).read_bytes()))
    assert content["config"]["data"]["source"] == "posts"
    assert content["config"]["reward"]["sources"] == ["python:f.py:f", "0.5*x"]


def test_the_same_run_is_bit_equal(run, save, references):
    stored = run("a", {"sft": [BASE], "token_ppo": [shifted(1)]})
    save(stored)
    found = check(stored, references)
    assert set(statuses(found).values()) == {"bit-equal"}
    assert found.failed(strict=True) == []


def test_each_status_by_hand(run, save, references):
    save(
        run(
            "old",
            {"sft": [BASE], "token_ppo": [BASE], "macro_ppo-fixed_n5": [BASE], "token_ppo_matched_lambda-n5": [BASE]},
        )
    )
    # better by 1 ± 0.01; worse by 1 ± 0.01; - 0.5 to 0.5; the control did not run
    spread = [value + (0.5 if place % 2 else -0.5) for place, value in enumerate(BASE)]
    new = run("new", {"sft": [shifted(1)], "token_ppo": [shifted(-1)], "macro_ppo-fixed_n5": [spread]})
    found = check(new, references, Margin(SCORE, 0.2))
    assert statuses(found) == {
        ("sft", SCORE): "within margin",
        ("token_ppo", SCORE): "regressed",
        ("macro_ppo:fixed(n=5)", SCORE): "inconclusive",
        ("token_ppo_matched_lambda:n=5", SCORE): "not comparable",
        ("sft", "kl"): "not comparable",  # changed, and neither end is better
        ("token_ppo", "kl"): "not comparable",
        ("macro_ppo:fixed(n=5)", "kl"): "not comparable",
        ("token_ppo_matched_lambda:n=5", "kl"): "not comparable",
    }
    assert [row.arm for row in found.failed(strict=False)] == ["token_ppo"]
    assert len(found.failed(strict=True)) == 3
    assert len(check_table(found).rows) == 8


def test_what_is_not_tested_decides_nothing(run, save, references):
    save(run("old", {"sft": [BASE]}))
    new = run("new", {"sft": [shifted(-1)]})
    assert [row.metric for row in check(new, references).failed(strict=False)] == [SCORE]
    with pytest.raises(UnknownNameError, match=r"metric of the reference 'oracle'"):
        check(new, references, Margin("oracle", 0.1))


def test_numeric_noise_is_no_regression(run, save, references):
    save(run("old", {"sft": [BASE]}))
    found = check(run("new", {"sft": [[value - 1e-9 for value in BASE]]}), references)
    assert statuses(found)["sft", SCORE] == "within margin"


def test_a_missing_seed_is_said(run, save, references):
    save(run("old", {"sft": [BASE, BASE]}))
    row = next(row for row in check(run("new", {"sft": [BASE]}), references).rows if row.metric == SCORE)
    assert (row.status, row.reason) == ("bit-equal", "the run lacks seed 1")


def test_unscored_samples_do_not_pass_in_silence(run, save, references, write_cells, make_cell, tmp_path):
    save(run("old", {"sft": [BASE]}))
    new = write_cells(tmp_path / "new", [make_cell("sft", 0, {SCORE: [None, *BASE[1:]], "kl": BASE})])
    with pytest.raises(UnscoredError, match=r"12.5 % of the samples"):
        check(new, references)


def test_an_unfinished_run_is_not_checked(run, save, references, write_cells, make_cell, tmp_path):
    save(run("old", {"sft": [BASE, BASE]}))
    cells = [make_cell("sft", 0, {SCORE: BASE}), make_cell("sft", 1, {SCORE: BASE}, status="running")]
    with pytest.raises(RecordError, match=r"1 cell failed or unfinished .first: sft seed 1, running"):
        check(write_cells(tmp_path / "new", cells), references)


def means_only(references, rows, name="means"):
    text = "arm,seed,metric,value\n" + "".join(f"{row}\n" for row in rows)
    write_text_atomically(references / name / "scores.csv", text)
    write_text_atomically(references / name / "config.yaml", f"config_hash: '{'c0ffee' + '0' * 58}'\ntask: tldr\n")


def test_a_reference_with_means_only_says_so_and_compares_means(run, references):
    # means of BASE 3.5, of the two seeds 3.5 and 4.5; better by 1 in both seeds: over seeds [1, 1]
    means_only(
        references, [f"sft,0,{SCORE},3.5", f"token_ppo,0,{SCORE},2.5", f"token_ppo,1,{SCORE},3.5", "sft,0,oracle,1"]
    )
    new = run("new", {"sft": [BASE], "token_ppo": [BASE, [value + 1 for value in BASE]]})
    found = check(new, references, Margin(SCORE, 0.1), name=None)
    assert "holds means by arm and seed only" in found.notes[0]
    assert statuses(found) == {
        ("sft", SCORE): "bit-equal",
        ("token_ppo", SCORE): "within margin",
        ("sft", "oracle"): "lost",
    }


def test_one_seed_of_means_is_inconclusive(run, references):
    means_only(references, [f"sft,0,{SCORE},9.0"])
    [row] = check(run("new", {"sft": [BASE]}), references, Margin(SCORE, 0.1), name="means").rows
    assert (row.status, row.change) == ("inconclusive", None)
    assert "there is no interval" in row.reason


def test_means_only_cannot_be_paired_and_says_what_can_be_done(references):
    means_only(references, [f"sft,0,{SCORE},9.0"])
    with pytest.raises(RecordError, match=r"means only .*nothing can be paired; marl-bench reference check"):
        open_side("means", reference_dir=references)


def test_an_unknown_reference_lists_the_known_ones(run, save, references):
    new = run("new", {"sft": [BASE]}, config_hash="d" * 64)
    save(run("old", {"sft": [BASE]}))
    with pytest.raises(UnknownNameError, match=r"Did you mean 'kept'"):
        check(new, references, name="kep")
    with pytest.raises(RecordError, match=r"no reference of its name or configuration .known: kept"):
        check(new, references, name=None)


def test_the_reference_of_the_configuration_is_found(run, save, references):
    save(run("old", {"sft": [BASE]}))
    assert check(run("new", {"sft": [BASE]}), references, name=None).reference == "kept"


@pytest.mark.parametrize("damage", [lambda data: data[:50], lambda data: b"nothing", lambda data: gzip.compress(b"{}")])
def test_a_damaged_reference_is_named(run, save, damage):
    path = save(run("old", {"sft": [BASE]}))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match=f"{REFERENCE}: damaged"):
        read_reference(path.parent)


def test_a_reference_of_another_version_is_refused(run, save):
    path = save(run("old", {"sft": [BASE]}))
    content = json.loads(gzip.decompress(path.read_bytes())) | {"version": 2}
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(RecordError, match=r"of version 2, this marl-bench reads version 1"):
        read_reference(path.parent)


def test_a_reference_keeps_no_texts(run, save):
    cell = read_reference(save(run("old", {"sft": [BASE]})).parent).cells[0]
    with pytest.raises(RecordError, match=r"keeps no texts"):
        list(cell.samples)


def test_the_listing_shows_both_kinds(run, save, references):
    save(run("old", {"sft": [BASE, BASE]}))
    means_only(references, [f"sft,0,{SCORE},9.0"])
    rows = {row[0]: row[1:7] for row in listing_table(references).rows}
    assert rows == {
        "kept": ["scores by prompt", "tldr", "c0ffee000000", "1", "2", "8"],
        "means": ["means only", "tldr", "c0ffee000000", "1", "1", "–"],
    }


def test_the_committed_references_are_readable():
    folder = Path(__file__).parents[2] / "results" / "reference"
    kept = {path.parent.name: len(read_reference(path.parent).cells) for path in folder.glob(f"*/{REFERENCE}")}
    assert {name.split("-tiny-")[0] for name in kept} == {"apps", "hh", "tldr", "webgpt"} and all(kept.values())
    assert {row[0]: row[1] for row in listing_table(folder).rows} == dict.fromkeys(kept, "scores by prompt")


def test_samples_of_one_prompt_count_by_their_mean(tmp_path, write_cells, make_cell, save):
    cell = make_cell("sft", 0, {SCORE: [1.0, 2.0, 6.0]})
    first, second, third = cell.samples
    again = dataclasses.replace(second, prompt_id="p0", prompt=first.prompt)
    stored = write_cells(tmp_path / "a", [dataclasses.replace(cell, samples=[first, again, third])])
    kept = read_reference(save(stored).parent).cells[0].columns
    assert dict(zip(kept.prompt_ids, kept.metrics[SCORE].tolist(), strict=True)) == {"p0": 1.5, "p2": 6.0}


def test_a_tested_metric_that_lost_all_its_scores_cannot_pass(run, save, references):
    save(run("old", {"sft": [BASE], "token_ppo": [BASE]}))
    new = run("new", {"sft": [BASE], "token_ppo": [[None] * 8]})
    found = check(new, references, Margin(SCORE, 0.5))
    assert statuses(found)["token_ppo", SCORE] == "lost"
    assert [row.arm for row in found.failed(strict=False)] == ["token_ppo"]
