"""Many questions under way when the job stops."""

import asyncio

from marl_bench.errors import JudgeError
from marl_bench.interfaces import JudgePrompt
from marl_bench.judging.asking import Asker, Patience
from marl_bench.judging.failures import CallError
from marl_bench.judging.questions import Judge, Question

JUDGE = Judge("openai:m", "m")
WORDING = JudgePrompt("test", "1", "You judge.", "{{prompt}} {{first}} {{second}}")


class Failing:
    """Fails every request at the same moment; the n-th with the n-th error, the last of them for ever."""

    def __init__(self, together, *errors):
        self.together, self.errors, self.sent = asyncio.Barrier(together), errors, 0

    async def send(self, body):
        error = self.errors[min(self.sent, len(self.errors) - 1)]
        self.sent += 1
        if self.sent <= self.together.parties:
            await self.together.wait()
        raise error


def ask_together(wire, count, *errors, patience):
    async def ask():
        transport = Failing(count, *errors)
        asker = Asker(JUDGE, transport, patience=patience, clock=wire.PassingClock())
        questions = [Question(WORDING, f"story {number}", "one", "two") for number in range(count)]
        found = await asyncio.gather(*(asker.ask(question) for question in questions), return_exceptions=True)
        return found, transport.sent

    return asyncio.run(ask())


def test_the_job_stops_for_the_first_reason_however_many_questions_are_under_way(wire):
    patience = Patience(attempts=1, failures_in_a_row=5)
    found, _ = ask_together(wire, 12, CallError("down", "failed"), patience=patience)
    stopped = [one for one in found if isinstance(one, JudgeError)]
    assert len(stopped) == 8  # the first four are given up, each by itself
    assert len({str(error) for error in stopped}) == 1
    assert "judge openai:m: 5 questions in a row had no answer" in str(stopped[0])


def test_a_question_that_failed_is_not_asked_again_once_the_job_has_stopped(wire):
    errors = [CallError("status 401: no", "terminal", status=401), CallError("down", "failed")]
    found, sent = ask_together(wire, 8, *errors, patience=Patience())
    assert sent == 8
    assert {str(error) for error in found} == {
        "judge openai:m: status 401: no; the key is not accepted: set OPENAI_API_KEY to a valid one."
    }
