"""Transcripts of task hh: turns, oddities, what cannot be read, the span that may be cut, messages."""

import pytest
from marl_bench_tasks.hh.transcripts import cuttable_span, has_turns, messages, read_transcript

from marl_bench.errors import RowError

THREE_TURNS = "\n\nHuman: Hi there\n\nAssistant: Hello!\n\nHuman: What is two plus two?\n\nAssistant: Four."


def read(text):
    return read_transcript(text, where="train.jsonl, line 7", field="chosen")


def said(transcript):
    return [(turn.role, turn.text) for turn in transcript.turns]


def test_the_dialogue_ends_with_the_last_assistant_and_the_answer_follows():
    transcript = read(THREE_TURNS)
    assert transcript.dialogue + " Four." == THREE_TURNS
    assert transcript.dialogue.endswith("two?\n\nAssistant:")
    assert transcript.answer == "Four."
    assert said(transcript) == [("user", "Hi there"), ("assistant", "Hello!"), ("user", "What is two plus two?")]
    assert not transcript.oddities


def test_the_place_of_each_text_is_known():
    transcript = read(THREE_TURNS)
    for turn in transcript.turns:
        assert transcript.dialogue[turn.text_start : turn.text_end] == turn.text


@pytest.mark.parametrize(
    ("text", "reason", "problem"),
    [
        ("\n\nHuman: Hi", "without_assistant_turn", "has no turn of the assistant"),
        ("just words", "without_assistant_turn", "has no turn of the assistant"),
        ("Note.\n\nHuman: Hi\n\nAssistant: Hello", "text_before_the_first_turn", "does not begin with a turn"),
        ("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye", "ends_with_human_turn", "ends with a turn of the human"),
        ("\n\nAssistant: Hello", "without_human_turn", "has nothing said by the human"),
        ("\n\nHuman: \n\nAssistant: Hello", "without_human_turn", "has nothing said by the human"),
    ],
)
def test_what_is_no_transcript_names_place_field_and_reason(text, reason, problem):
    with pytest.raises(RowError, match=f"^train.jsonl, line 7: field chosen {problem}") as caught:
        read(text)
    assert caught.value.reason == reason


def test_an_empty_last_turn_is_an_empty_answer():
    transcript = read("\n\nHuman: List bad words\n\nAssistant: ")
    assert (transcript.answer, transcript.dialogue) == ("", "\n\nHuman: List bad words\n\nAssistant:")


def test_windows_line_ends_read_as_plain_ones():
    transcript = read(THREE_TURNS.replace("\n", "\r\n"))
    assert transcript.oddities == {"windows_line_ends"}
    assert (transcript.dialogue, transcript.answer) == (read(THREE_TURNS).dialogue, "Four.")


def test_blank_lines_missing_at_the_start_are_put_there():
    for start in ("", "\n", "  "):
        transcript = read(start + THREE_TURNS.lstrip())
        assert transcript.oddities == {"no_blank_lines_at_start"}
        assert transcript.dialogue == read(THREE_TURNS).dialogue


@pytest.mark.parametrize(
    "text",
    ["Human: no, you do.", "the word Assistant: here", "one\nHuman: two", "see\n\nHuman:two", "seem Human: at peace"],
)
def test_a_role_inside_a_line_or_after_one_line_break_is_text(text):
    transcript = read(f"\n\nHuman: Say it\n\nAssistant: {text}")
    assert transcript.answer == text
    assert not has_turns(text)


def test_two_turns_of_one_role_stay_in_the_text_and_are_one_message():
    text = (
        "\n\nHuman: One\n\nHuman: Two\n\nAssistant: A\n\nAssistant: B\n\nHuman: Three\n\nAssistant: C\n\nAssistant: D"
    )
    transcript = read(text)
    assert transcript.oddities == {"consecutive_turns"}
    assert transcript.dialogue + " D" == text
    assert messages(transcript.turns) == [
        {"role": "user", "content": "One\n\nTwo"},
        {"role": "assistant", "content": "A\n\nB"},
        {"role": "user", "content": "Three"},
        {"role": "assistant", "content": "C"},
    ]


def test_empty_turns_are_no_messages():
    transcript = read("\n\nHuman: One\n\nAssistant: \n\nHuman: Two\n\nAssistant: A")
    assert messages(transcript.turns) == [{"role": "user", "content": "One\n\nTwo"}]


def test_other_languages_and_several_paragraphs_stay_as_they_are():
    transcript = read("\n\nHuman: 你好吗？\n\nСпасибо\n\nAssistant: 很好。\n\nنعم")
    assert said(transcript) == [("user", "你好吗？\n\nСпасибо")]
    assert transcript.answer == "很好。\n\nنعم"


def test_the_span_to_cut_ends_before_the_last_human_turn():
    transcript = read(THREE_TURNS)
    start, end = cuttable_span(transcript.turns)
    assert transcript.dialogue[start:end] == "Hi there\n\nAssistant: Hello!"
    assert transcript.dialogue[end:] == "\n\nHuman: What is two plus two?\n\nAssistant:"


def test_the_span_to_cut_of_a_single_turn_is_its_text():
    transcript = read("\n\nHuman: What is two plus two?\n\nAssistant: Four.")
    start, end = cuttable_span(transcript.turns)
    assert transcript.dialogue[start:end] == "What is two plus two?"
