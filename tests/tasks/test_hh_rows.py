"""The loader of task hh: two schemas, subsets, flawed pairs, splits, errors that name file, line and field."""

import gzip
import json
import re

import pytest
from marl_bench_tasks.hh import TASK
from marl_bench_tasks.hh.rows import check_row
from marl_bench_tasks.hh.sources import DAHOAS_ID, PUBLISHED_ROWS, SUBSETS, CountedRows
from marl_bench_tasks.hh.task import HhTask, Options

from marl_bench.errors import ConfigError, DataError, RowError
from marl_bench.interfaces import DataSource
from marl_bench.models.prompts import fit_prompts


def row(number=0, *, chosen="good", rejected="bad"):
    dialogue = f"\n\nHuman: question {number}\n\nAssistant:"
    return {"chosen": f"{dialogue} {chosen} {number}", "rejected": f"{dialogue} {rejected} {number}"}


def answers(number=0, **changes):
    prompt = f"\n\nHuman: question {number}\n\nAssistant:"
    return {"prompt": prompt, "response": "x", "chosen": f" good {number}", "rejected": " bad"} | changes


def write(folder, train, test, *, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        data = "".join(json.dumps(each) + "\n" for each in rows).encode()
        path = folder / f"{split}.jsonl{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(data) if compressed else data)
    return DataSource("folder", folder)


def load(source, *, seed=0, **options):
    return HhTask(Options(**options)).load(source, seed=seed)


def prompts_of(data):
    return [
        {pair.prompt.text for pair in data.sft},
        {pair.prompt.text for pair in data.preferences},
        {prompt.text for prompt in data.rl_prompts},
        {prompt.text for prompt in data.eval_prompts},
    ]


def checked(raw):
    return check_row(raw, split="train", where="train.jsonl, line 3")


def test_prompt_answer_and_messages(tmp_path):
    source = write(tmp_path, [row(number) for number in range(10)], [row(99)])
    data = load(source)
    [prompt] = data.eval_prompts
    assert prompt.text == "\n\nHuman: question 99\n\nAssistant:"
    assert prompt.reference == "good 99"
    assert prompt.messages == [{"role": "user", "content": "question 99"}]
    assert prompt.fields == {}
    for pair in data.preferences:
        number = pair.prompt.text.split()[2]
        assert (pair.chosen, pair.rejected) == (f" good {number}", f" bad {number}")
    assert all(pair.response.startswith(" good ") for pair in data.sft)


def test_rows_with_answers_only_are_recognised_by_their_columns(tmp_path):
    whole = load(write(tmp_path / "whole", [row(number) for number in range(10)], [row(99)]))
    parts = load(write(tmp_path / "parts", [answers(number) for number in range(10)], [answers(99)]))
    assert prompts_of(whole) == prompts_of(parts)
    assert [pair.chosen for pair in whole.preferences] == [pair.chosen for pair in parts.preferences]


def test_a_group_goes_to_one_stage_and_no_prompt_stands_in_two(tmp_path):
    def longer(number):
        """The same first turn as `row(number)`, another dialogue."""
        return {
            name: text.replace("Assistant:", "Assistant: well\n\nHuman: go on\n\nAssistant:")
            for name, text in row(number).items()
        }

    train = [*(row(number) for number in range(20)), *(longer(number) for number in range(20))]
    data = load(write(tmp_path, train, [longer(number) for number in range(15, 40)]))
    parts = prompts_of(data)
    assert [len(part) for part in parts] == [8, 16, 16, 20]
    assert data.counts["evaluation_rows_dropped_because_in_train"] == 5
    first_turns = [{text.split("\n\n")[1] for text in part} for part in parts]
    assert not any(first_turns[first] & first_turns[second] for first in range(4) for second in range(first))


def test_the_official_split_goes_by_row(tmp_path):
    source = write(tmp_path, [row(number % 20) for number in range(100)], [row(50)])
    data = load(DataSource("folder", source.path, split="official"))
    assert (len(data.sft), len(data.preferences)) == (20, 40)
    assert prompts_of(data)[0] & prompts_of(data)[1]


def test_another_seed_splits_otherwise_and_the_same_one_alike(tmp_path):
    source = write(tmp_path, [row(number) for number in range(50)], [row(99)])
    assert load(source, seed=1) == load(source, seed=1)
    assert prompts_of(load(source, seed=1)) != prompts_of(load(source, seed=2))


def test_subsets_are_read_by_option_and_named(tmp_path):
    for part, subset in enumerate(("helpful-base", "harmless-base")):
        rows = [row(100 * part + number) for number in range(10)]
        write(tmp_path / subset, rows, [row(100 * part + 50)], compressed=True)
    source = DataSource("folder", tmp_path)
    both = load(source, subsets=["helpful-base", "harmless-base"])
    assert {prompt.subset for prompt in both.eval_prompts} == {"helpful-base", "harmless-base"}
    assert both.counts["rows"] == 22
    assert [prompt.subset for prompt in load(source, subsets=["harmless-base"]).eval_prompts] == ["harmless-base"]
    with pytest.raises(DataError, match=r"no sub-folder helpful-online, .*has helpful-base, harmless-base"):
        load(source)


def test_unknown_subsets_are_refused():
    with pytest.raises((ConfigError, ValueError), match="helpful"):
        Options(subsets=["helpful"])


def test_a_limit_takes_of_all_subsets(tmp_path):
    for part, subset in enumerate(SUBSETS):
        write(tmp_path / subset, [row(1000 * part + number) for number in range(100)], [row(1000 * part + 500)])
    data = load(DataSource("folder", tmp_path))
    assert {prompt.subset for prompt in data.rl_prompts[:30]} == set(SUBSETS)


@pytest.mark.parametrize(
    ("raw", "flaw", "answer"),
    [
        (row(0), "", "good 0"),
        (row(0, rejected="good"), "identical", None),
        ({**row(0), "rejected": row(1)["rejected"]}, "differs_earlier", "good 0"),
        ({**row(0), "rejected": "\n\nHuman: question 0\n\nAssistant: "}, "empty_rejected", "good 0"),
        ({**row(0), "chosen": "\n\nHuman: question 0\n\nAssistant: "}, "empty_chosen", None),
        ({**row(0), "rejected": "\n\nHuman: question 0"}, "unreadable_rejected", "good 0"),
        ({**row(0), "rejected": row(0)["rejected"].replace("\n", "\r\n")}, "", "good 0"),
        (answers(0, rejected=" good 0"), "identical", None),
        (answers(0, rejected="  "), "empty_rejected", "good 0"),
        (answers(0, chosen=""), "empty_chosen", None),
    ],
)
def test_what_a_flawed_pair_is_still_used_for(raw, flaw, answer):
    result = checked(raw)
    assert (result.flaw, result.sft_answer, result.reference) == (flaw, answer, answer)
    assert result.dialogue == "\n\nHuman: question 0\n\nAssistant:"


def test_flawed_pairs_are_prompts_and_counted_and_named(tmp_path):
    train = [row(number) for number in range(30)]
    train[4] = row(4, rejected="good")
    data = load(write(tmp_path, train, [row(99, rejected="good")]))
    assert sum(len(part) for part in prompts_of(data)[:3]) in (29, 30)  # in SFT or preferences it cannot be used
    assert all(pair.chosen != pair.rejected for pair in data.preferences)
    assert data.counts["no_pair_identical"] == 2
    assert any("2 rows are no preference pair: chosen and rejected are the same" in note for note in data.notes)
    [prompt] = data.eval_prompts
    assert prompt.reference is None


@pytest.mark.parametrize(
    ("raw", "message", "reason"),
    [
        ({**row(), "chosen": None}, "field chosen is None", "without_chosen"),
        ({**row(), "chosen": " "}, "field chosen is ' '", "without_chosen"),
        ({**row(), "rejected": 3}, "field rejected is 3", "without_rejected"),
        ({"chosen": row()["chosen"]}, "field rejected is None", "without_rejected"),
        ({**row(), "chosen": "\n\nHuman: hi"}, "field chosen has no turn of the assistant", "without_assistant_turn"),
        (answers(prompt=None), "field prompt is None", "without_prompt"),
        (answers(prompt="\n\nHuman: hi"), "field prompt has no turn of the assistant", "without_assistant_turn"),
        (answers(prompt="\n\nHuman: a\n\nAssistant: b"), "field prompt goes on after the last", "prompt_with_answer"),
        (answers(chosen=None), "field chosen is None", "without_chosen"),
        (answers(chosen="a\n\nHuman: b"), "field chosen holds further turns", "answer_with_turns"),
        (answers(rejected="a\n\nAssistant: b"), "field rejected holds further turns", "answer_with_turns"),
    ],
)
def test_a_row_that_cannot_be_used_names_place_field_and_reason(raw, message, reason):
    with pytest.raises(RowError, match=f"^train.jsonl, line 3: {message}") as caught:
        checked(raw)
    assert caught.value.reason == reason


def test_unusable_rows_are_counted_by_reason_and_too_many_are_an_error(tmp_path):
    train = [*(row(number) for number in range(30)), {"chosen": "\n\nHuman: hi", "rejected": "\n\nHuman: hi"}]
    data = load(write(tmp_path / "few", train, [row(99)]))
    assert data.counts["unusable_without_assistant_turn"] == 1
    assert any("line 31: field chosen has no turn" in note for note in data.notes)
    with pytest.raises(DataError, match=r"5 of 36 rows cannot be used.*train \(train.jsonl\), line 31"):
        load(write(tmp_path / "many", [*train, *[train[-1]] * 4], [row(99)]))


def test_missing_empty_and_unreadable_folders_are_clear_errors(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load(DataSource("folder", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        load(DataSource("folder", tmp_path / "empty"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.jsonl").write_text("{broken\n")
    with pytest.raises(DataError, match="cannot be read"):
        load(DataSource("folder", tmp_path / "bad"))
    half = write(tmp_path / "half", [row(number) for number in range(3)], [])
    (half.path / "test.jsonl").unlink()
    with pytest.raises(DataError, match="3 train and 0 test rows"):
        load(half)


def test_the_hub_is_asked_for_each_subset_at_a_pinned_revision(monkeypatch):
    asked = []

    def fake_rows(arguments, *, source):
        asked.append(dict(arguments))
        number = len(asked)
        yield "train", f"{source}, train, line 1", row(number)
        yield "test", f"{source}, test, line 1", row(100 + number)

    monkeypatch.setattr("marl_bench_tasks.hh.sources.dataset_rows", fake_rows)
    data = load(DataSource("hub"), subsets=["helpful-base", "harmless-base"])
    assert [(each["path"], each["data_dir"]) for each in asked] == [
        ("Anthropic/hh-rlhf", "helpful-base"),
        ("Anthropic/hh-rlhf", "harmless-base"),
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", each["revision"]) for each in asked)
    assert data.notes[0].startswith("helpful-base: 1 train and 1 test rows were read, the published data has 43,835")
    asked.clear()
    load(DataSource("hub", revision="abc"), dataset="dahoas")
    assert asked == [{"path": "Dahoas/full-hh-rlhf", "revision": "abc"}]


def test_places_in_notes_hold_no_absolute_path(tmp_path):
    data = load(write(tmp_path / "mine", [row(number) for number in range(9)], [row(99, rejected="good")]))
    [note] = data.notes
    assert note.endswith("one is data folder 'mine', test (test.jsonl), line 1.")


def test_published_counts_are_a_note_where_they_hold_and_a_warning_on_the_hub():
    def notes(subset, counts, *, is_hub):
        counted = CountedRows()
        extra = {"prompt": ""} if subset == DAHOAS_ID else {"subset": subset}
        for split, count in counts.items():
            for _ in counted.counted((split, "", extra) for _ in range(count)):
                pass
        return counted.notes(is_hub=is_hub)

    # The README of the sample: helpful-online has 22,007 train and 1,137 test rows.
    full = {"train": 22007, "test": 1137}
    published = "helpful-online: 22,007 train and 1,137 test rows were read, as published."
    assert notes("helpful-online", full, is_hub=False) == notes("helpful-online", full, is_hub=True) == [published]
    assert notes("helpful-online", {"train": 5, "test": 2}, is_hub=False) == []
    [note] = notes("helpful-online", {"train": 5, "test": 2}, is_hub=True)
    assert note.endswith("5 train and 2 test rows were read, the published data has 22,007 train and 1,137 test.")
    [note] = notes(DAHOAS_ID, {"train": 1}, is_hub=True)
    assert note.endswith("the published data has 112,052 train and 12,451 test.")
    assert sum(PUBLISHED_ROWS[subset]["train"] for subset in SUBSETS) == 160800


class WordTokenizer:
    """One token a word, as the smallest tokenizer that the cut needs."""

    def __call__(self, texts):
        ids = [list(range(len(text.split()))) for text in ([texts] if isinstance(texts, str) else texts)]
        return {"input_ids": ids[0] if isinstance(texts, str) else ids}


def test_a_long_dialogue_keeps_its_last_question(tmp_path):
    opening = " ".join(f"word{number}" for number in range(50))
    dialogue = f"\n\nHuman: {opening}\n\nAssistant: I see\n\nHuman: so what now\n\nAssistant:"
    long = {"chosen": f"{dialogue} good", "rejected": f"{dialogue} bad"}
    data = load(write(tmp_path, [row(number) for number in range(10)], [long]))
    fitted = fit_prompts(data.eval_prompts, WordTokenizer(), max_prompt_tokens=20, overlong="cut")
    assert (fitted.cut, fitted.dropped) == (1, 0)
    assert fitted.prompts[0].text.startswith("\n\nHuman: word0 word1")
    assert fitted.prompts[0].text.endswith("\n\nHuman: so what now\n\nAssistant:")


def test_real_sample_data_load(sample_data):
    data = load(DataSource("folder", sample_data / "hh_rlhf"))
    # Its README: 4,000 train and 993 test rows; 16 have chosen == rejected, 11 differ before the last turn, 7 have an
    # empty last turn; sub-folders with 343, 300, 100, 250 test rows.
    assert data.counts["rows"] == 4993
    assert data.counts["no_pair_identical"] == 16
    assert data.counts["no_pair_differs_earlier"] == 11
    assert data.counts["no_pair_empty_chosen"] + data.counts["no_pair_empty_rejected"] == 7
    assert not any(name.startswith("unusable") for name in data.counts)
    parts = prompts_of(data)
    assert not any(parts[first] & parts[second] for first in range(4) for second in range(first))
    assert {prompt.subset for prompt in data.eval_prompts} == set(SUBSETS)
    assert len({prompt.id for prompt in data.eval_prompts}) == len(data.eval_prompts)
    assert TASK.build(Options()).oracle(data.eval_prompts[:1], [None]) is None
