"""The loader of the task: schema, splits, errors that name file, line and field."""

import gzip
import json

import pytest
from marl_bench_tasks.tldr import TASK
from marl_bench_tasks.tldr.rows import check_row
from marl_bench_tasks.tldr.task import Options, TldrTask

from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource


def row(number=0, **changes):
    return {
        "info": {"id": f"t{number}", "post": f"post {number}", "title": "A title", "subreddit": "pets"},
        "summaries": [{"text": f"good {number}"}, {"text": f"bad {number}"}],
        "choice": 0,
    } | changes


def write(folder, train, validation, *, compressed=False):
    (folder / "comparisons").mkdir(parents=True)
    for split, rows in (("train", train), ("validation", validation)):
        text = "".join(json.dumps(each) + "\n" for each in rows)
        path = folder / "comparisons" / f"{split}.jsonl{'.gz' if compressed else ''}"
        if compressed:
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
    return DataSource("folder", folder)


def load(source, *, seed=0, **options):
    return TldrTask(Options(**options)).load(source, seed=seed)


def prompts_of(data):
    return [
        {pair.prompt.text for pair in data.sft},
        {pair.prompt.text for pair in data.preferences},
        {prompt.text for prompt in data.rl_prompts},
        {prompt.text for prompt in data.eval_prompts},
    ]


def test_no_prompt_stands_in_two_stages(tmp_path):
    train = [row(number % 20) for number in range(100)]
    source = write(tmp_path, train, [row(number) for number in range(15, 40)])
    parts = prompts_of(load(source))
    assert [len(part) for part in parts] == [4, 8, 8, 20]
    for first in range(4):
        for second in range(first):
            assert not parts[first] & parts[second]


def test_the_official_split_goes_by_row(tmp_path):
    source = write(tmp_path, [row(number % 20) for number in range(100)], [row(50)])
    data = load(DataSource("folder", source.path, split="official"))
    assert (len(data.sft), len(data.preferences)) == (20, 40)
    assert prompts_of(data)[0] & prompts_of(data)[1]


def test_another_seed_splits_otherwise_and_the_same_one_alike(tmp_path):
    source = write(tmp_path, [row(number) for number in range(50)], [row(99)])
    assert load(source, seed=1) == load(source, seed=1)
    assert prompts_of(load(source, seed=1)) != prompts_of(load(source, seed=2))


def test_the_prompt_and_its_cuttable_post(tmp_path):
    [prompt] = load(write(tmp_path, [row(number) for number in range(10)], [row(99)])).eval_prompts
    assert prompt.text == "SUBREDDIT: r/pets\n\nTITLE: A title\n\nPOST: post 99\n\nTL;DR:"
    start, end = prompt.cuttable
    assert prompt.text[start:end] == "post 99"
    assert prompt.reference == "good 99"


def test_the_prompt_of_the_released_code(tmp_path):
    source = write(tmp_path, [row(number) for number in range(10)], [row(99)])
    assert load(source, prompt="official_code").eval_prompts[0].text == "POST\nSubreddit: r/pets\npost 99\nTL;DR:"


def test_a_missing_title_or_subreddit_drops_only_its_line(tmp_path):
    bare = row(99, info={"id": "t99", "post": "post 99", "title": None, "subreddit": ""})
    data = load(write(tmp_path, [row(number) for number in range(10)], [bare], compressed=True))
    assert data.eval_prompts[0].text == "POST: post 99\n\nTL;DR:"
    assert (data.counts["without_title"], data.counts["without_subreddit"]) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"info": {"id": "x", "post": None, "title": "t", "subreddit": "s"}}, "info.post is None"),
        ({"info": {"id": "x", "post": "  ", "title": "t", "subreddit": "s"}}, "info.post is '  '"),
        ({"summaries": [{"text": "one"}]}, "summaries is"),
        ({"summaries": [{"text": "one"}, {"text": ""}]}, "summaries is"),
        ({"summaries": None}, "summaries is None"),
        ({"choice": None}, "choice is None"),
        ({"choice": 2}, "choice is 2"),
    ],
)
def test_a_row_without_a_required_field_names_file_line_and_field(tmp_path, changes, field):
    source = write(tmp_path, [row(0), row(1), row(2, **changes)], [row(99)])
    with pytest.raises(DataError, match=rf"train \(train.jsonl\), line 3: field {field}"):
        load(source)


def test_the_preferred_summary_is_the_chosen_one():
    checked = check_row(row(0, choice=1), split="train", where="here")
    assert (checked.chosen, checked.rejected, checked.sft_summary) == ("bad 0", "good 0", "bad 0")


def test_missing_empty_and_unreadable_folders_are_clear_errors(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load(DataSource("folder", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        load(DataSource("folder", tmp_path / "empty"))
    (tmp_path / "bad" / "comparisons").mkdir(parents=True)
    (tmp_path / "bad" / "comparisons" / "train.jsonl").write_text("{broken\n")
    with pytest.raises(DataError, match="cannot be read"):
        load(DataSource("folder", tmp_path / "bad"))
    with pytest.raises(DataError, match="3 train and 0 validation rows"):
        half = write(tmp_path / "half", [row(number) for number in range(3)], [])
        (half.path / "comparisons" / "validation.jsonl").unlink()
        load(half)


def test_embedded_data_have_an_oracle_and_real_data_none(tmp_path):
    task = TASK.build(Options())
    embedded = task.load(DataSource("embedded"), seed=0)
    prompts = embedded.eval_prompts[:3]
    responses = [type("Response", (), {"text": prompt.reference}) for prompt in prompts]
    assert task.oracle(prompts, responses) == [2.5, 2.5, 2.5]
    real = load(write(tmp_path, [row(number) for number in range(10)], [row(99)]))
    assert task.oracle(real.eval_prompts, [responses[0]]) is None


def test_real_sample_data_load(sample_data):
    data = load(DataSource("folder", sample_data / "summarize_from_feedback"))
    # Its README: 259 train and 60 validation comparisons; 20 rows have no subreddit.
    assert data.counts["rows"] == 319
    assert data.counts["without_subreddit"] == 20
    assert len(data.sft) + len(data.preferences) <= 259
    parts = prompts_of(data)
    assert not any(parts[first] & parts[second] for first in range(4) for second in range(first))
