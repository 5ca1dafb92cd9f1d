"""Blind annotation sheets: what goes out shows no arm and runs no formula; what comes back is checked cell by cell and loses nothing."""

import csv
import io
import json
import re

import pytest

from marl_bench.errors import DataError, RecordError, RunFolderError, UnknownNameError
from marl_bench.judgements import judgement_folders, read_judgement, read_pairs
from marl_bench.judging.cells import as_cell, digest_of_cells, from_cell
from marl_bench.judging.labels import pairs_for_sheet, take_labels
from marl_bench.judging.sheet_reading import read_sheet
from marl_bench.judging.sheets import COLUMNS, key_path_of, read_key, write_sheet
from marl_bench.reporting.agreement import judges_of_runs

HOSTILE = [
    '=cmd|" /C calc"!A1',
    "+1+1",
    "-2",
    "@SUM(A1)",
    " =1+1",
    "＝1+1",
    "\t=1",
    "'quoted'",
    "''twice",
    'plain, with "quotes"; and\nlines',
    "é 漢字 🎉",
    "",
]


@pytest.fixture
def chosen(run_dir, registry):
    def choose(count=3, **options):
        asked = {"seed": 1, "arms": [], "references": [], **options}
        return pairs_for_sheet([run_dir.root], registry, count=count, **asked)

    return choose


@pytest.fixture
def sheet(chosen, tmp_path):
    return write_sheet(chosen(), tmp_path / "sheet.csv", seed=1)


def read_csv(path):
    csv.field_size_limit(10**7)
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def fill(sheet, name, choice, *, encoding="utf-8-sig", delimiter=",", change=lambda rows: rows):
    """Fills a copy in: `choice` gets the row's texts and its item of the key."""
    items = {item.id: item for item in read_key(sheet.key).items}
    rows = [row | {"choice": choice(row, items[row["id"]])} for row in read_csv(sheet.sheet)]
    path = sheet.sheet.with_name(name)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(change(rows))
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def longer(row, _item):
    first, second = (len(row[name].split()) for name in ("response_1", "response_2"))
    return "tie" if first == second else "1" if first > second else "2"


def prefers_macro(_row, item):
    return "1" if item.arm.startswith("macro") == (item.order == "arm_first") else "2"


# Out


def test_the_sheet_shows_no_arm_and_excel_takes_it_for_utf8(sheet):
    data = sheet.sheet.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfid,prompt,response_1,response_2,choice,comment\r\n")
    for word in (b"sft", b"token_ppo", b"macro", b"fixed"):
        assert word not in data
    assert all(row["choice"] == "" and row["comment"] == "" for row in read_csv(sheet.sheet))


def test_the_key_says_whose_response_stands_where(sheet, chosen):
    texts = {(pair.arm, pair.reference, pair.prompt_id): pair for pair in chosen()}
    key = read_key(sheet.key)
    assert len(key.items) == sheet.rows == len(texts) == 9  # three comparisons of three pairs
    for row, item in zip(read_csv(sheet.sheet), key.items, strict=True):
        pair = texts[item.arm, item.reference, item.prompt_id]
        sides = [pair.arm_response, pair.reference_response]
        assert row["id"] == item.id
        assert [row["response_1"], row["response_2"]] == (sides if item.order == "arm_first" else sides[::-1])


def test_sides_and_rows_are_shuffled_by_the_seed(chosen, tmp_path):
    pairs = chosen(None)
    orders = {}
    for seed in (1, 2):
        key = read_key(write_sheet(pairs, tmp_path / f"{seed}.csv", seed=seed).key)
        orders[seed] = [(item.arm, item.reference, item.prompt_id, item.order) for item in key.items]
        assert {item.order for item in key.items} == {"arm_first", "reference_first"}
    assert orders[1] != orders[2]
    assert {order[:3] for order in orders[1]} == {order[:3] for order in orders[2]}
    again = write_sheet(pairs, tmp_path / "again.csv", seed=1)
    assert again.sheet.read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_the_pairs_are_those_that_a_judge_with_the_same_seed_sees(run_dir, registry, chosen):
    from marl_bench.judging.plan import JudgeOptions, plan_judging

    plan = plan_judging([run_dir], JudgeOptions("openai:m", pairs=2, seed=7), registry)
    wanted = [(pair.arm, pair.reference, pair.prompt_id) for pair in plan.pairs]
    assert [(pair.arm, pair.reference, pair.prompt_id) for pair in chosen(2, seed=7)] == wanted


def test_arms_and_references_can_be_chosen_by_label(chosen):
    found = chosen(2, arms=["macro_ppo:fixed(n=5)"], references=["token_ppo"])
    assert {(pair.arm, pair.reference) for pair in found} == {("macro_ppo-fixed_n5", "token_ppo")}
    with pytest.raises(UnknownNameError, match="Did you mean 'token_ppo'"):
        chosen(2, arms=["token_pp"])


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_starts_a_formula_and_every_text_comes_back(text):
    cell = as_cell(text)
    assert not re.match(r"\s*[=+\-@＝＋－＠]|[\t\r]", cell)
    assert from_cell(cell) == text


def test_what_no_csv_carries_is_replaced():
    assert as_cell("a\x00b\ud800c") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


def test_a_digest_forgives_what_spreadsheets_do_and_nothing_else():
    texts = ("'=1+1", "two\nlines ", "é")
    assert digest_of_cells(*texts) == digest_of_cells("=1+1", "two\r\nlines", "é")
    assert digest_of_cells(*texts) != digest_of_cells("=1+2", "two\nlines ", "é")
    assert digest_of_cells("a b", "c", "") != digest_of_cells("a", "b c", "")


def test_answers_are_never_overwritten(sheet, chosen):
    again = write_sheet(chosen(), sheet.sheet, seed=1)  # the same sheet is no harm
    assert again.sheet.read_bytes() == sheet.sheet.read_bytes()
    filled = fill(sheet, "sheet.csv", longer)
    before = filled.read_bytes()
    with pytest.raises(RunFolderError, match=r"sheet\.csv: is there already and holds something else: answers"):
        write_sheet(chosen(), sheet.sheet, seed=1)
    assert filled.read_bytes() == before


def test_the_key_of_a_sheet_that_was_sent_out_is_never_overwritten(sheet, chosen):
    key = sheet.key.read_bytes()
    sheet.sheet.unlink()
    with pytest.raises(
        RunFolderError, match=r"sheet\.key\.json: is there already .* the key of a sheet that was sent out"
    ):
        write_sheet(chosen(), sheet.sheet, seed=2)
    assert (sheet.key.read_bytes(), sheet.sheet.exists()) == (key, False)


def test_choices_with_decimals_are_choices(sheet):
    path = fill(sheet, "anna.csv", lambda *_: "2.0")
    assert {label.choice for label in read_sheet(path, read_key(sheet.key)).labels} == {"2"}


def test_texts_that_excel_cuts_are_announced(make_run, registry, tmp_path):
    run = make_run(2, text=lambda arm, seed, number: f"{arm[0]}{number} " + "x" * (40_000 if arm == "sft" else 5))
    pairs = pairs_for_sheet([run.root], registry, count=None, seed=0, arms=[], references=["sft"])
    assert "4 rows have a text" in write_sheet(pairs, tmp_path / "s.csv", seed=0).warnings[0]


def test_no_pairs_make_no_sheet(tmp_path):
    with pytest.raises(DataError, match="no pairs"):
        write_sheet([], tmp_path / "s.csv", seed=0)


# Back


def test_labels_become_a_judgement_in_terms_of_the_arms(sheet, run_dir):
    [taken] = take_labels([run_dir.root], [fill(sheet, "anna.csv", prefers_macro)])
    [folder] = judgement_folders(run_dir.root)
    judgement = read_judgement(folder)
    assert (taken.judge, judgement.judge, judgement.order, folder.name) == ("labels:anna",) * 2 + (
        "single",
        "labels-anna",
    )
    pairs = list(read_pairs(folder))
    assert len(pairs) == 9
    for pair in pairs:
        assert pair.score == float(pair.arm.startswith("macro"))
        assert [verdict.path for verdict in pair.verdicts] == ["label"]


def test_a_length_annotator_is_seen_through_shuffled_sides(sheet, run_dir):
    take_labels([run_dir.root], [fill(sheet, "anna.csv", longer)])
    for pair in read_pairs(judgement_folders(run_dir.root)[0]):
        gap = pair.arm_words - pair.reference_words
        assert pair.score == (0.5 if gap == 0 else float(gap > 0))


def test_several_annotators_are_held_against_each_other_and_against_a_model(sheet, run_dir, judge_it):
    take_labels([run_dir.root], [fill(sheet, "anna.csv", longer), fill(sheet, "ben.csv", prefers_macro)])
    judge_it(run_dir, pairs=3, seed=1)
    found = {(one.judge, one.other): one for one in judges_of_runs([run_dir.root])}
    assert list(found) == [
        ("openai:judge-1", "labels:anna"),
        ("openai:judge-1", "labels:ben"),
        ("openai:judge-1", "majority of 2 annotators"),
        ("labels:anna", "labels:ben"),
    ]
    assert all(one.pairs == 9 for one in found.values())
    same = found["openai:judge-1", "labels:anna"]  # both go by length
    assert (same.same.estimate, same.length_bias.estimate) == (1.0, 0.0)
    report = (run_dir.root / "report.md").read_text()
    assert "## Judges held against each other" in report
    assert "| labels:anna | labels:ben | 9 |" in report


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_what_spreadsheets_save_is_read(sheet, encoding, delimiter):
    path = fill(sheet, "anna.csv", longer, encoding=encoding, delimiter=delimiter)
    assert len(read_sheet(path, read_key(sheet.key)).labels) == 9


def test_row_order_case_spaces_line_ends_empty_rows_and_further_columns_do_not_matter(sheet):
    path = fill(sheet, "anna.csv", lambda *_: " TIE ", change=lambda rows: rows[::-1])
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    lines = text.replace("id,prompt", "ID, Prompt", 1) + ",,,,,\n"
    path.write_text(lines)
    assert {label.choice for label in read_sheet(path, read_key(sheet.key)).labels} == {"tie"}


def test_comments_are_kept_as_reasons(sheet, run_dir):
    path = fill(sheet, "anna.csv", longer, change=lambda rows: [row | {"comment": "'=better"} for row in rows])
    take_labels([run_dir.root], [path])
    assert {pair.verdicts[0].reason for pair in read_pairs(judgement_folders(run_dir.root)[0])} == {"=better"}


def edit(number, **cells):
    return lambda rows: [row | cells if index == number else row for index, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit(1, choice="3"), r"row 3, column choice: '3' given; write 1, 2 or tie"),
        (edit(1, choice="both"), r"row 3, column choice: 'both' given"),
        (edit(2, choice=""), r"row 4, column choice: is empty; write 1, 2 or tie"),
        (edit(0, id="abc"), r"row 2, column id: 'abc' is no row of this sheet"),
        (
            edit(0, response_1="another text"),
            r"row 2, column prompt, response_1 or response_2: the text is not the one",
        ),
        (lambda rows: [*rows, rows[0]], r"row 11, column id: '\w+-0001-\w+' stands in row 2 already"),
        (lambda rows: rows[1:], r"1 of the sheet's 9 rows are missing \(\w+-0001-"),
    ],
)
def test_what_is_wrong_is_said_with_row_and_column(sheet, change, said):
    path = fill(sheet, "anna.csv", longer, change=change)
    with pytest.raises(DataError, match=said) as raised:
        read_sheet(path, read_key(sheet.key))
    assert str(path) in str(raised.value)


def test_all_problems_are_named_at_once_and_nothing_is_taken_over(sheet, run_dir):
    good = fill(sheet, "anna.csv", longer)
    bad = fill(sheet, "ben.csv", lambda *_: "x")
    with pytest.raises(DataError) as raised:
        take_labels([run_dir.root], [good, bad])
    assert str(raised.value).count("column choice: 'x' given") == 9
    assert judgement_folders(run_dir.root) == []


def test_swapped_responses_are_an_edit(sheet):
    def swap(rows):
        return [row | {"response_1": row["response_2"], "response_2": row["response_1"]} for row in rows]

    with pytest.raises(DataError, match="is not the one that was sent out"):
        read_sheet(fill(sheet, "anna.csv", longer, change=swap), read_key(sheet.key))


def test_a_partial_sheet_is_taken_over_when_allowed_and_says_so(sheet, run_dir):
    path = fill(sheet, "anna.csv", longer, change=lambda rows: [rows[0] | {"choice": ""}, *rows[2:]])
    [taken] = take_labels([run_dir.root], [path], partial=True)
    assert (taken.labelled, taken.unlabelled) == (7, 2)
    assert read_judgement(taken.folders[0]).notes == ["2 of 9 rows of the sheet have no label and are left out."]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "is a workbook, not CSV; save it as 'CSV UTF-8"),
        (b"id,prompt\n", "row 1: no column response_1, response_2, choice"),
        (b"id,prompt,response_1,response_2,choice,choice\n", "row 1: column choice twice"),
        (
            "id,prompt,response_1,response_2,choice\nx,y,größer,z,1\n".encode("cp1252"),
            r"row 2, column response_1: byte 0xf6 is not UTF-8",
        ),
        (b'id,prompt,response_1,response_2,choice\nx,"y,z,1\n', "row 2: is no CSV"),
    ],
)
def test_files_that_are_no_sheet_are_named(sheet, data, said):
    path = sheet.sheet.with_name("anna.csv")
    path.write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_sheet(path, read_key(sheet.key))


def test_the_key_is_found_by_the_ids_of_the_sheet(sheet, chosen, tmp_path, run_dir):
    other = write_sheet(chosen(2), tmp_path / "other.csv", seed=2)
    (tmp_path / "foreign.key.json").write_text("[]")
    assert take_labels([run_dir.root], [fill(other, "anna.csv", longer)])[0].labelled == 6
    away = tmp_path / "away"
    away.mkdir()
    path = fill(sheet, "ben.csv", longer).rename(away / "ben.csv")
    with pytest.raises(
        DataError, match=r"no key of sheet 's\w{8}' beside it \(found: none\); give the key with --key FILE"
    ):
        take_labels([run_dir.root], [path])
    assert take_labels([run_dir.root], [path], key=sheet.key)[0].labelled == 9


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "sheet": "a", "seed": 0, "items": [{}]}']
)
def test_a_damaged_key_is_named(tmp_path, text):
    path = key_path_of(tmp_path / "sheet.csv")
    path.write_text(text)
    with pytest.raises(DataError, match="no key of a sheet"):
        read_key(path)


def test_labels_of_other_responses_are_refused(sheet, make_run):
    path = fill(sheet, "anna.csv", longer)
    changed = make_run(text=lambda arm, seed, number: f"{arm} said {number}", name="changed")
    with pytest.raises(RecordError, match="are not those that were shown; give the runs from which"):
        take_labels([changed.root], [path])
    fewer = make_run(text=lambda *_: "x", arms=["sft", "token_ppo"], name="fewer")
    with pytest.raises(RecordError, match="are not all there"):
        take_labels([fewer.root], [path])


def test_two_files_of_one_name_are_refused(sheet, run_dir, tmp_path):
    (tmp_path / "sub").mkdir()
    path = fill(sheet, "anna.csv", longer)
    with pytest.raises(DataError, match="another file has the name 'anna' too"):
        take_labels([run_dir.root], [path, path.with_name("sub") / "anna.csv"])


def test_the_key_is_plain_json(sheet):
    data = json.loads(sheet.key.read_text())
    assert sorted(data) == ["format", "items", "seed", "sheet"]


def test_texts_longer_than_a_csv_reader_takes_by_itself_come_back(make_run, registry, tmp_path):
    run = make_run(1, text=lambda arm, seed, number: f"{arm[0]} " + "x" * 200_000, arms=["sft", "token_ppo"])
    pairs = pairs_for_sheet([run.root], registry, count=None, seed=0, arms=[], references=[])
    path = fill(write_sheet(pairs, tmp_path / "long.csv", seed=0), "anna.csv", lambda *_: "tie")
    assert len(read_sheet(path, read_key(tmp_path / "long.key.json")).labels) == 1
