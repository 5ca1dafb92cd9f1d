"""The loader of task webgpt: schema, splits, ties, citations, errors that name file, line and field."""

import gzip
import json
import math
import pickle

import pytest
from marl_bench_tasks.webgpt import TASK
from marl_bench_tasks.webgpt.rows import check_row
from marl_bench_tasks.webgpt.task import MAX_EVALUATION_QUESTIONS, Options, WebgptTask

from marl_bench.errors import DataError, RowError
from marl_bench.interfaces import DataSource


def quotes(*pairs):
    return {"title": [title for title, _ in pairs], "extract": [extract for _, extract in pairs]}


def row(number=0, **changes):
    return {
        "question": {"dataset": "eli5", "id": f"q{number}", "full_text": f"Question {number}?"},
        "quotes_0": quotes(("Page", "An extract.")),
        "answer_0": f"good {number} [1]",
        "tokens_0": {"prefix": [1, 2], "completion": [3]},
        "score_0": 0.5,
        "quotes_1": quotes(("Other page", "Another extract."), ("Page", "An extract.")),
        "answer_1": f"bad {number} [1] and [2]",
        "tokens_1": {"prefix": [1, 2], "completion": [4]},
        "score_1": -0.5,
    } | changes


def scores(first):
    return {"score_0": first, "score_1": -first}


def write(folder, train, test=(), *, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        if not rows:
            continue
        text = "".join(json.dumps(each) + "\n" for each in rows)
        path = folder / f"{split}.jsonl{'.gz' if compressed else ''}"
        if compressed:
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
    return DataSource("folder", folder)


def load(source, *, seed=0, **options):
    return WebgptTask(Options(**options)).load(source, seed=seed)


def prompts_of(data):
    return [
        {pair.prompt.text for pair in data.sft},
        {pair.prompt.text for pair in data.preferences},
        {prompt.text for prompt in data.rl_prompts},
        {prompt.text for prompt in data.eval_prompts},
    ]


def assert_disjoint(parts):
    assert not any(parts[first] & parts[second] for first in range(4) for second in range(first))


def test_a_tenth_of_the_questions_is_held_out_where_there_is_one_split(tmp_path):
    source = write(tmp_path, [row(number % 50) for number in range(200)])
    parts = prompts_of(load(source))
    # 50 questions: 5 for evaluation; of the other 45 a fifth and two fifths
    assert [len(part) for part in parts] == [9, 18, 18, 5]
    assert_disjoint(parts)
    assert load(source) == load(source)
    assert prompts_of(load(source, seed=1))[3] != parts[3]


def test_the_questions_held_out_are_limited(tmp_path, monkeypatch):
    assert MAX_EVALUATION_QUESTIONS == 1000
    monkeypatch.setattr("marl_bench_tasks.webgpt.task.MAX_EVALUATION_QUESTIONS", 3)
    # a tenth would be 4
    assert len(load(write(tmp_path, [row(number) for number in range(40)])).eval_prompts) == 3


def test_a_test_split_is_used_as_it_is_but_for_questions_of_train(tmp_path):
    source = write(tmp_path, [row(number) for number in range(20)], [row(number) for number in range(15, 30)])
    data = load(source)
    assert [len(part) for part in prompts_of(data)] == [4, 8, 8, 10]
    assert_disjoint(prompts_of(data))
    assert data.counts["evaluation_rows_dropped_because_in_train"] == 5


def test_questions_that_differ_in_case_and_spacing_are_one(tmp_path):
    rows = [row(number) for number in range(20)]
    shouted = [row(n, question={"dataset": "eli5", "id": None, "full_text": f" QUESTION  {n}? "}) for n in range(20)]
    data = load(write(tmp_path, [*rows, *shouted]))
    parts = [{" ".join(text.lower().split()) for text in part} for part in prompts_of(data)]
    assert_disjoint(parts)
    assert data.counts["questions"] == 20


def test_the_official_split_goes_by_row(tmp_path):
    source = write(tmp_path, [row(number % 20) for number in range(100)], [row(99)])
    data = load(DataSource("folder", source.path, split="official"))
    # 40 of 100 rows
    assert len(data.preferences) == 40
    assert prompts_of(data)[0] & prompts_of(data)[1]


def test_the_prompt_is_that_of_the_released_code(tmp_path):
    source = write(tmp_path, [row(number) for number in range(10)], [row(99)])
    for prompt in ("default", "official_code"):
        [given] = load(source, prompt=prompt).eval_prompts
        assert given.text == " Human: Question 99? Assistant:"
        assert given.text[slice(*given.cuttable)] == "Question 99?"
        assert given.reference == "good 99 [1]"
        assert "quotes" not in given.fields


def test_references_of_both_answers_stand_in_the_prompt_once_and_citations_follow_them(tmp_path):
    source = write(tmp_path, [row(number) for number in range(10)], [row(99)])
    data = load(source, prompt="with_quotes")
    [given] = data.eval_prompts
    lines = "[1] Page: An extract.\n[2] Other page: Another extract."
    assert given.text == f"{lines}\n Human: Question 99? Assistant:"
    assert given.text[slice(*given.cuttable)] == lines
    # The rejected answer's first reference is the second of the prompt, its second one the first.
    assert {pair.chosen.split()[2] for pair in data.preferences} == {"[1]"}
    assert all(pair.rejected.endswith(" [2] and [1]") for pair in data.preferences)


def test_citations_can_be_stripped_everywhere(tmp_path):
    source = write(tmp_path, [row(number) for number in range(10)], [row(99)])
    data = load(source, citations="strip")
    assert data.eval_prompts[0].reference == "good 99"
    assert all(pair.response.startswith(" good") and "[" not in pair.response for pair in data.sft)
    assert all(pair.rejected.startswith(" bad") and pair.rejected.endswith(" and") for pair in data.preferences)


def test_citations_of_no_reference_are_counted_and_stay_so(tmp_path):
    dangling = row(99, answer_0="good [7] [1]")
    source = write(tmp_path, [row(number) for number in range(10)], [dangling])
    data = load(source, prompt="with_quotes")
    # The prompt has 2 references.
    assert data.eval_prompts[0].reference == "good [3] [1]"
    assert data.counts["citations_without_quote"] == 1


def test_ties_make_no_preference_but_serve_other_stages(tmp_path):
    source = write(tmp_path, [row(number, **scores(0.0)) for number in range(20)], [row(99, **scores(0.0))])
    data = load(source)
    assert (len(data.sft), len(data.preferences), len(data.rl_prompts)) == (4, 0, 8)
    assert (data.counts["ties"], data.counts["ties_left_out_of_preferences"]) == (21, 8)
    # SFT takes the first answer of a tie, and says how often.
    assert data.counts["sft_answers_from_ties"] == 4
    assert all(pair.response.startswith(" good") for pair in data.sft)


def test_the_best_scored_answer_of_a_question_is_its_reference(tmp_path):
    def comparison(first, second, score):
        return row(0, answer_0=first, answer_1=second, **scores(score))

    def learnt(*rows):
        # References of evaluation prompts are chosen as what SFT learns.
        source = write(tmp_path / str(len(list(tmp_path.iterdir()))), [row(number) for number in range(1, 6)], rows)
        return load(source).eval_prompts[0].reference

    # b: (-.5 + 1) / 2 = .25; a: .5; c: -1
    assert learnt(comparison("b", "a", -0.5), comparison("b", "c", 1.0)) == "a"
    # a: (1 - .5) / 2 = .25; b: (-1 + 1) / 2 = 0; c: (.5 - 1) / 2 = -.25
    assert learnt(comparison("b", "a", -1.0), comparison("b", "c", 1.0), comparison("c", "a", 0.5)) == "a"
    # a tie with another, first and last
    assert learnt(comparison("b", "a", 0.0), comparison("c", "a", 0.0)) == "b"


def test_several_answers_that_share_the_highest_score_are_all_learnt_once(tmp_path):
    rows = [
        row(number, answer_0=first, answer_1="worst", **scores(1.0)) for number in range(5) for first in ("a", "b", "b")
    ]
    data = load(write(tmp_path, rows, [row(99)]))
    assert sorted(pair.response for pair in data.sft) == [" a", " b"]
    assert len({pair.prompt.text for pair in data.sft}) == 1


def test_equal_answers_make_no_preference(tmp_path):
    rows = [row(number, answer_0="same [1]", answer_1="same") for number in range(10)]
    data = load(write(tmp_path, rows, [row(99)]), citations="strip")
    assert len(data.preferences) == 0
    assert data.counts["equal_answers_left_out_of_preferences"] == 4


def test_the_preferred_answer_is_the_chosen_one():
    assert check_row(row(0, **scores(-1.0)), split="train", where="here").preferred == 1
    assert check_row(row(0, **scores(0.25)), split="train", where="here").preferred == 0
    assert check_row(row(0, **scores(0.0)), split="train", where="here").preferred is None
    assert check_row(row(0, score_0=0.33333334, score_1=-0.3333), split="train", where="here").preferred == 0


BAD = [
    ({"question": None}, "question is None", "without_question"),
    ({"question": {"dataset": "eli5", "id": "x", "full_text": " "}}, "question.full_text is ' '", "without_question"),
    ({"question": {"dataset": "eli5", "id": "x", "full_text": None}}, "question.full_text is None", "without_question"),
    ({"answer_0": ""}, "answer_0 is ''", "without_answer"),
    ({"answer_1": None}, "answer_1 is None", "without_answer"),
    ({"score_0": None}, "score_0 is None", "without_scores"),
    ({"score_1": math.nan}, "score_1 is nan", "without_scores"),
    ({"score_0": 1.0}, "score_0 and score_1 are 1 and -0.5", "scores_do_not_sum_to_zero"),
    ({"quotes_0": {"title": ["a", "b"], "extract": ["c"]}}, "quotes_0 has 2 titles and 1 extracts", "uneven_quotes"),
    ({"quotes_1": {"title": ["a"], "extract": [None]}}, "quotes_1 is", "wrong_quotes"),
    ({"quotes_1": {"title": ["a"], "extract": None}}, "quotes_1 is", "wrong_quotes"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), BAD)
def test_a_bad_row_names_its_place_its_field_and_its_reason(changes, field, reason):
    with pytest.raises(RowError, match=f"^somewhere, line 3: fields? {field}") as caught:
        check_row(row(2, **changes), split="train", where="somewhere, line 3")
    assert caught.value.reason == reason


@pytest.mark.parametrize("wrong", ["1", True, [1]])
def test_scores_are_numbers(wrong):
    with pytest.raises(RowError, match="score_0 is"):
        check_row(row(score_0=wrong), split="train", where="here")


def test_bad_rows_are_left_out_counted_and_named(tmp_path):
    rows = [row(number) for number in range(40)]
    rows[2] = row(2, answer_0=" ")
    rows[5] = row(5, score_1=None)
    rows[6] = row(6, score_1=None)
    data = load(write(tmp_path, rows, compressed=True))
    assert data.counts["rows"] == 37
    assert (data.counts["unusable_without_answer"], data.counts["unusable_without_scores"]) == (1, 2)
    assert "train (train.jsonl.gz), line 3: field answer_0 is ' '" in data.notes[0]
    assert "2 rows were left out; the first:" in data.notes[1]
    assert "line 6: field score_1 is None" in data.notes[1]


def test_too_many_bad_rows_are_an_error(tmp_path):
    with pytest.raises(DataError, match=r"3 of 20 rows cannot be used.*line 1: field answer_1"):
        load(write(tmp_path, [row(number, **({"answer_1": ""} if number < 3 else {})) for number in range(20)]))


def test_rows_without_references_are_used_and_counted(tmp_path):
    bare = row(99, quotes_0=quotes(), quotes_1=None)
    data = load(write(tmp_path, [row(number) for number in range(10)], [bare]), prompt="with_quotes")
    assert data.counts["without_quotes"] == 1
    assert data.eval_prompts[0].text == " Human: Question 99? Assistant:"


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
    with pytest.raises(DataError, match="0 train and 1 evaluation rows"):
        load(write(tmp_path / "half", [], [row(1)]))


def test_subsets_are_named_where_there_are_several(tmp_path):
    other = row(98, question={"dataset": "triviaqa", "id": "t", "full_text": "Who?"})
    one = load(write(tmp_path / "one", [row(number) for number in range(10)], [row(99)]))
    two = load(write(tmp_path / "two", [row(number) for number in range(10)], [row(99), other]))
    assert [prompt.subset for prompt in one.eval_prompts] == [""]
    assert [prompt.subset for prompt in two.eval_prompts] == ["eli5", "triviaqa"]


def test_the_published_number_of_rows_is_a_check(tmp_path, monkeypatch):
    monkeypatch.setattr("marl_bench_tasks.webgpt.task.PUBLISHED_ROWS", 20)
    same = load(write(tmp_path / "same", [row(number) for number in range(20)]))
    assert same.notes == ["20 rows were read; openai/webgpt_comparisons has 20 as published."]
    assert load(write(tmp_path / "fewer", [row(number) for number in range(19)])).notes == []


def test_the_task_can_be_sent_to_other_processes():
    task = TASK.build(Options())
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.fixture(scope="module")
def stand_in(sample_data):
    return load(DataSource("folder", sample_data / "webgpt_standin"), prompt="with_quotes")


def test_real_sample_data_load_and_are_called_what_they_are(stand_in):
    # Its README: 2,058 train and 498 test rows, 6 for each of 343 and 83 questions; 2 questions have no passage.
    assert (stand_in.counts["rows"], stand_in.counts["questions"]) == (2556, 426)
    assert stand_in.counts["without_quotes"] == 12
    # Ties in the files: 278 and 54.
    assert stand_in.counts["ties"] == 332
    assert stand_in.notes[0].startswith("stand-in, not WebGPT: 2556 of 2556 rows")
    assert len(stand_in.eval_prompts) == 83
    # 343 questions: round(68.6) = 69 for SFT, up to round(205.8) = 206 for the reward model, 137 for RL
    assert len({pair.prompt.text for pair in stand_in.sft}) == 69
    assert len(stand_in.rl_prompts) == 137
    assert len(stand_in.preferences) == 137 * 6 - stand_in.counts["ties_left_out_of_preferences"]


def test_no_prompt_of_the_sample_stands_in_two_stages(stand_in):
    assert_disjoint(prompts_of(stand_in))
    questions = [{text.rpartition(" Human: ")[2] for text in part} for part in prompts_of(stand_in)]
    assert_disjoint(questions)
