"""Scores from tasks, callables and classifiers: sums, order, errors, and what runs beside the models."""

import threading

import pytest
import torch

from marl_bench.errors import ConfigError, ModelError, TrainingError
from marl_bench.models.loading import load_reward_model, load_tokenizer
from marl_bench.models.rewards import make_reward
from marl_bench.records import Prompt, Response
from marl_bench.reward_sources import is_own_reward, parse_reward_sources, stage_names
from marl_bench.score_parts import ToScore

CPU = torch.device("cpu")
FUNCTIONS = """
import asyncio, math, threading
import torch

def lengths(prompts, responses):
    return [len(response.text) for response in responses]

LIMIT = asyncio.Semaphore(1)

async def waits(prompts, responses):
    async with LIMIT:
        await asyncio.sleep(0.001)
    return [10.0] * len(responses)

def some(prompts, responses):
    return [None, 1.0]

def tensor(prompts, responses):
    return torch.tensor([1.0, 2.0])

def short(prompts, responses):
    return [1.0]

def nan(prompts, responses):
    return [0.0, math.nan]

def raises(prompts, responses):
    raise KeyError("no such thing")

def words(prompts, responses):
    return ["good", "bad"]

def text(prompts, responses):
    return "12"

def thread(prompts, responses):
    return [float(threading.get_ident())] * len(responses)

number = 3
"""


class OwnRule:
    """A task whose rule gives 1 and 2."""

    def score(self, prompts, responses):
        return [1.0, 2.0]


@pytest.fixture
def functions(tmp_path):
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


def batch(texts=("ab", "abcd"), *, finished=True):
    prompts = [Prompt(f"p{number}", f"Question {number}:") for number in range(len(texts))]
    responses = [Response(prompt.id, text, 3, finished) for prompt, text in zip(prompts, texts, strict=True)]
    return ToScore(OwnRule(), prompts, responses, None, 2)


def make(*texts):
    return make_reward(parse_reward_sources(texts), reward_model=None, dtype="float32", device=CPU)


def test_the_score_is_the_weighted_sum_of_its_parts(functions):
    reward = make("task", f"0.5*python:{functions}:lengths", f"-1*python:{functions}:waits")
    # 1 + 0.5 * 2 - 10, and 2 + 0.5 * 4 - 10
    assert reward.scores(batch()) == [-8.0, -6.0]
    assert reward.scores_by_part(batch())["-1*python:functions.py:waits"] == [10.0, 10.0]


def test_a_response_that_one_part_cannot_score_has_no_score(functions):
    assert make("task", f"python:{functions}:some").scores(batch()) == [None, 3.0]


def test_tensors_are_numbers_too(functions):
    assert make(f"python:{functions}:tensor").scores(batch()) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "1 scores for 2 responses"),
        ("nan", "the response to prompt 'p1' is nan"),
        ("raises", "KeyError: 'no such thing'"),
        ("text", "TypeError: it returned a str"),
        ("words", "ValueError: could not convert string to float: 'good'"),
    ],
)
def test_a_reward_that_breaks_its_contract_is_named(functions, name, message):
    with pytest.raises(TrainingError, match=rf"reward 'python:functions.py:{name}': .*{message}"):
        make(f"python:{functions}:{name}").scores(batch())


def test_an_async_reward_keeps_its_semaphore_from_batch_to_batch(functions):
    reward = make(f"python:{functions}:waits", "task")
    many = batch(("a", "b"))
    for _ in range(3):
        with reward.begun(many) as finish:
            assert finish() == [11.0, 12.0]


def test_rules_and_callables_run_beside_the_models(functions):
    with make(f"python:{functions}:thread").begun(batch()) as finish:
        assert finish()[0] != float(threading.get_ident())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks", "should be"),
        ("task:x", "should be"),
        ("classifier", "should be"),
        ("1.2.3*task", "weight is no number"),
        ("0*task", "its weight is 0.0"),
        ("1e999*task", "its weight is inf"),
        ("python:lengths", "names no callable"),
    ],
)
def test_a_source_of_another_shape_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_reward_sources([text])


def test_a_source_given_twice_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        parse_reward_sources(["task", "0.5*task"])
    with pytest.raises(ConfigError, match="would have one name in tables"):
        parse_reward_sources(["python:/a/r.py:f", "python:/b/r.py:f"])


def test_a_callable_that_does_not_exist_is_named_with_those_that_do(functions):
    with pytest.raises(ConfigError, match="has no callable 'length'; its functions: lengths, waits"):
        make(f"python:{functions}:length")
    with pytest.raises(ConfigError, match="has no callable 'number'"):
        make(f"python:{functions}:number")
    with pytest.raises(ConfigError, match="no file"):
        make("python:nowhere.py:lengths")
    with pytest.raises(ConfigError, match="cannot be imported"):
        make("python:no_such_module:lengths")


def test_the_shared_stages_follow_from_the_sources():
    assert stage_names(["task"], reward_kind="model") == ["sft", "reward_model"]
    assert stage_names(["task"], reward_kind="rule") == ["sft"]
    assert stage_names(["task", "python:a.py:f"], reward_kind="model") == ["sft", "reward_model", "reward"]
    assert stage_names(["python:a.py:f"], reward_kind="model") == ["sft", "reward"]
    assert is_own_reward(["task"])
    assert not is_own_reward(["2*task"])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A sequence classifier with a random head over the shipped trunk."""
    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = load_tokenizer("tiny")
    model = load_reward_model("tiny", dtype="float32", pad_token_id=tokenizer.pad_token_id)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def by_hand(folder, text):
    """The classifier's output for one text, without padding."""
    tokenizer = load_tokenizer(str(folder))
    model = load_reward_model(str(folder), dtype="float32", pad_token_id=tokenizer.pad_token_id)
    with torch.no_grad():
        hidden = model.base_model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state
        return model.score(hidden)[0, -1, 0].item()


def test_a_classifier_reads_prompt_response_and_eos_whatever_stands_beside_it(classifier):
    reward = make(f"classifier:{classifier}")
    found = reward.scores(batch((" short", " a response that is quite a bit longer than the other")))
    assert found[0] == pytest.approx(by_hand(classifier, "Question 0: short<|eos|>"), rel=1e-5)
    [cut] = reward.scores(batch((" short",), finished=False))
    assert cut == pytest.approx(by_hand(classifier, "Question 0: short"), rel=1e-5)
    assert cut != pytest.approx(found[0], rel=1e-3)


def test_a_classifier_without_a_pad_token_of_its_own_scores_the_same(classifier, tmp_path):
    tokenizer = load_tokenizer(str(classifier))
    load_reward_model(str(classifier), dtype="float32", pad_token_id=0).save_pretrained(tmp_path)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    texts = (" short", " a response that is quite a bit longer")
    same = make(f"classifier:{classifier}").scores(batch(texts))
    assert make(f"classifier:{tmp_path}").scores(batch(texts)) == pytest.approx(same, rel=1e-5)


def test_a_classifier_with_a_chat_template_reads_turns(classifier, tmp_path):
    tokenizer = load_tokenizer(str(classifier))
    load_reward_model(str(classifier), dtype="float32", pad_token_id=0).save_pretrained(tmp_path)
    tokenizer.chat_template = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}<|eos|>{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    [found] = make(f"classifier:{tmp_path}").scores(batch((" fine",)))
    expected = by_hand(classifier, "user: Question 0:<|eos|>assistant: fine<|eos|>")
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_classifier_never_reads_the_policys_template(classifier):
    prompt = Prompt("p", "<user>Hi<policy>", plain_text="Hi", messages=[{"role": "user", "content": "Hi"}])
    waiting = ToScore(OwnRule(), [prompt], [Response("p", "Hello", 2, True)], None, 1)
    expected = by_hand(classifier, "Hi Hello<|eos|>")
    assert make(f"classifier:{classifier}").scores(waiting) == [pytest.approx(expected, rel=1e-5)]


def test_a_classifier_of_robertas_kind_cuts_long_texts_at_the_front(classifier, tmp_path):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    tokenizer = load_tokenizer(str(classifier))
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1,
        bos_token_id=1,
        eos_token_id=1,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reward = make(f"classifier:{tmp_path}")
    # 40 positions, two of which stand before the first: both long texts end in the same 38 tokens.
    [longer, long, short] = (reward.scores(batch((" word" * count,)))[0] for count in (300, 200, 2))
    assert longer == pytest.approx(long, rel=1e-5)
    assert short != pytest.approx(long, rel=1e-3)


def test_a_model_that_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(ModelError, match="needs a sequence classifier"):
        make("classifier:tiny")
    with pytest.raises(ModelError, match="no from_pretrained folder"):
        make(f"classifier:{tmp_path}")
