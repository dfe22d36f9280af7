"""Log-likelihoods from the responses of servers: which tokens belong to the continuation, in every form."""

from __future__ import annotations

import math

import msgspec
import pytest

from loadstone.evals.requests import loglikelihood
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, LogprobMethod, RequestId
from loadstone.evals.requests.loglikelihood import MissingLogprobsError
from loadstone.records import Logprobs, Record


def told(*tokens: str, first: float | None = None, offsets: list[int] | None = None, generated: int = 0) -> Logprobs:
    """Token i has the log-probability -i, but the first; every token but the last two was the likeliest."""
    count = len(tokens)
    return Logprobs(
        tokens=list(tokens),
        values=[first, *(-float(place) for place in range(1, count))],
        best=[None, *(place < count - 2 for place in range(1, count))],
        offsets=offsets,
        prompt=count - generated,
    )


CUTS = [
    ("a token each", ["Q", ":", " four"], "Q:", " four", [2]),
    ("several tokens", ["Q", ":", " fo", "ur"], "Q:", " four", [2, 3]),
    ("a token before the text", ["<s>", "Q", ":", " four"], "Q:", " four", [3]),
    ("a template around", ["<|im_start|>", "user", "\n", "Q", "<|im_end|>", " yes"], None, " yes", [5]),
    ("characters in parts", ["Q", ":", " ", "", "", "天", "", "", "気"], "Q:", " 天気", [2, 3, 4, 5, 6, 7, 8]),
    ("a part of a character first", ["Q", ":", "", "", "天"], "Q:", "天", [2, 3, 4]),
    ("bytes of SentencePiece", ["▁Q", ":", "▁", "<0xE5>", "<0xA4>", "<0xA9>"], "Q:", " 天", [2, 3, 4, 5]),
    ("bytes of OpenAI", ["Q", ":", "bytes:\\xe5\\xa4", "bytes:\\xa9"], "Q:", "天", [2, 3]),
    ("a token that looks like a byte", ["Q", ":", " ", "<0xE5>"], "Q:", " <0xE5>", [2, 3]),
    ("spaces are the continuation's", ["Q", ":", "  ", " four"], "Q:  ", " four", [2, 3]),
    ("so is a new line", ["Q", ":", "\n", "four"], "Q:\n", "four", [2, 3]),
    ("begun before: the context's", ["Q", ":f", "our"], "Q:", "four", [2]),
    ("spaces lost before tokens", ["Q", ":", "New", "York"], "Q:", " New York", [2, 3]),
    ("a template trims", ["user", "Q", "\n", "yes"], None, " yes ", [3]),
    ("the same words in the context", ["yes", " yes", " yes"], "yes yes", " yes", [2]),
    ("nothing to say", ["Q", ":"], "Q:", "", []),
]


@pytest.mark.parametrize(("tokens", "context", "text", "places"), [case[1:] for case in CUTS], ids=[c[0] for c in CUTS])
def test_the_tokens_of_a_continuation(tokens: list[str], context: str | None, text: str, places: list[int]) -> None:
    found = told(*tokens)
    value, greedy = loglikelihood.score_continuation(found, context, text)
    assert value == -sum(places)
    assert greedy is all(found.best[place] for place in places)


def test_a_generated_token_is_never_counted() -> None:
    value, greedy = loglikelihood.score_continuation(told("Q", ":", " four", "four", generated=1), "Q:", " four")
    assert (value, greedy) == (-2.0, False)


OFFSETS = [
    ("plain", ["Q", ":", "?", "?", "?"], [0, 1, 2, 2, 2], [2, 3, 4]),
    ("with a token before the text", ["<s>", "Q", ":", "?", "?"], [0, 3, 4, 5, 5], [3, 4]),
    ("which counts nothing", ["<s>", "Q", ":", "?", "?"], [0, 0, 1, 2, 2], [3, 4]),
]


@pytest.mark.parametrize(("tokens", "offsets", "places"), [case[1:] for case in OFFSETS], ids=[c[0] for c in OFFSETS])
def test_offsets_where_tokens_cannot_be_read(tokens: list[str], offsets: list[int], places: list[int]) -> None:
    assert loglikelihood.score_continuation(told(*tokens, offsets=offsets), "Q:", "天")[0] == -sum(places)


def test_a_known_number_of_tokens_goes_before_all() -> None:
    """lm-eval's rule: the context has as many tokens as alone, wherever its text ends."""
    assert loglikelihood.score_continuation(told("Q", ":f", "our"), "Q:", "four", 1, 3)[0] == -3.0


REFUSED = [
    (Logprobs(["x"], [-1.0], [True]), "Q:", " four", None, "nothing of the prompt's tokens"),
    (told("Q", ":", "?"), "Q:", "天", None, "do not spell the text"),
    (told("Q", ":", "?", offsets=[2, 1, 0]), "Q:", "天", None, "do not spell the text"),
    (told("Q", ":four"), "Q:", "four", None, "no token of its own"),
    (told(" four"), "", " four", None, "nothing stands before it"),
    (told("Q", ":", " four"), "Q:", " four", 4, "told of 3 tokens, but 4 were sent"),
]


@pytest.mark.parametrize(("found", "context", "text", "sent", "why"), REFUSED, ids=[case[-1] for case in REFUSED])
def test_missing_log_probabilities_are_an_error(
    found: Logprobs, context: str, text: str, sent: int | None, why: str
) -> None:
    with pytest.raises(MissingLogprobsError, match=why):
        loglikelihood.score_continuation(found, context, text, sent=sent)


def test_an_empty_context_counts_from_the_token_before_it() -> None:
    assert loglikelihood.score_continuation(told("<s>", "a", "b"), "", "ab")[0] == -3.0


TOP = {" A": math.log(0.5), "A": math.log(0.1), " B": math.log(0.2), "\n": math.log(0.15)}


def test_letters_with_and_without_a_space() -> None:
    found = Logprobs(["A"], [-1.0], [True], top=[TOP])
    (a, best), (b, _), (c, never) = loglikelihood.score_letters(found, [" A", " B", " C"])
    assert (math.exp(a), best) == (pytest.approx(0.6), True)
    assert math.exp(b) == pytest.approx(0.2)
    assert (c, never) == (-math.inf, False)


def test_letters_without_a_log_probability() -> None:
    with pytest.raises(MissingLogprobsError, match="none of the letters is among the 4 likeliest"):
        loglikelihood.score_letters(Logprobs(["A"], [-1.0], [True], top=[TOP]), [" X"])
    with pytest.raises(MissingLogprobsError, match="no likeliest tokens"):
        loglikelihood.score_letters(Logprobs(["A"], [-1.0], [True]), [" A"])


ONE = {"max_tokens": 1, "temperature": 0}
WHOLE = {**ONE, "stream": False}
ID = RequestId("t", 0)
ECHO = AnswerMode("loglikelihood", "completions", LogprobMethod("echo"))
SPELT = AnswerMode("letters", "completions", LogprobMethod("letters"))
TEXT = EvalRequest(id=ID, answer_mode=ECHO, prompt="Q:", continuation=" four")
CHAT = EvalRequest(id=ID, answer_mode=ECHO, prompt=[{"role": "user", "content": "Q"}], continuation="four")
PREFIX = EvalRequest(id=ID, answer_mode=ECHO, prompt=[{"role": "assistant", "content": "It is"}], continuation=" four")
IDS = EvalRequest(id=ID, answer_mode=ECHO, prompt="Q:", continuation=" four", tokens=[1, 2, 3], context_tokens=2)
LETTERS = EvalRequest(id=ID, answer_mode=SPELT, prompt="Q:", letters=[" A"])
OPEN = {"add_generation_prompt": False, "continue_final_message": True, "prompt_logprobs": 1, **WHOLE}
BODIES = [
    (TEXT, LogprobMethod("echo"), {"prompt": "Q: four", "echo": True, "logprobs": 1, **WHOLE}),
    (
        TEXT,
        LogprobMethod("echo", plain=True),
        {"prompt": "Q: four", "add_special_tokens": False, "echo": True, "logprobs": 1, **WHOLE},
    ),
    (TEXT, LogprobMethod("prompt_logprobs"), {"prompt": "Q: four", "prompt_logprobs": 1, **WHOLE}),
    (IDS, LogprobMethod("echo", plain=True), {"prompt": [1, 2, 3], "echo": True, "logprobs": 1, **WHOLE}),
    (
        CHAT,
        LogprobMethod("prompt_logprobs", "chat"),
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "four"}], **OPEN},
    ),
    (
        PREFIX,
        LogprobMethod("prompt_logprobs", "chat"),
        {"messages": [{"role": "assistant", "content": "It is four"}], **OPEN},
    ),
    (LETTERS, LogprobMethod("letters", top=5), {"prompt": "Q:", "logprobs": 5, **ONE}),
    (
        EvalRequest(id=ID, answer_mode=SPELT, prompt=[{"role": "user", "content": "Q"}], letters=["A"]),
        LogprobMethod("letters", "chat"),
        {"messages": [{"role": "user", "content": "Q"}], "logprobs": True, "top_logprobs": 20, **ONE},
    ),
]


@pytest.mark.parametrize(("eval_request", "method", "body"), BODIES)
def test_requests(eval_request: EvalRequest, method: LogprobMethod, body: dict[str, object]) -> None:
    how = msgspec.structs.replace(eval_request.answer_mode, api=method.api, method=method)
    assert loglikelihood.body(msgspec.structs.replace(eval_request, answer_mode=how)) == body


def test_records_say_it_or_not() -> None:
    record = Record(index=0, prompt="t", scheduled=0, end=1, logprobs=told("Q", ":", " four"))
    silent = Record(index=0, prompt="t", scheduled=0, end=1)
    assert loglikelihood.from_record(record, TEXT) == [(-2.0, False)]
    with pytest.raises(MissingLogprobsError, match="no log-probabilities"):
        loglikelihood.from_record(silent, TEXT)
