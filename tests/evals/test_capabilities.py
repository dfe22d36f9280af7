"""The probe of a server before an evaluation, and the choice of how a task is answered.

The servers are a small model of words, with the faults that real ones have.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.evals.requests import client, tokenize
from loadstone.evals.requests.answers import Response
from loadstone.evals.requests.capabilities import ServerCapabilities, probe, probe_servers
from loadstone.evals.requests.client import ClientResponse, EvalClient, Refusal
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest, LogprobMethod, RequestId
from loadstone.evals.requests.mode import choose, common_capabilities
from loadstone.tasks.spec import Data, Generation, Likelihood, Task
from support.servers import Asked, clean, scripted

REFUSED = 400
BOS = "<s>"


def value(before: list[str], token: str) -> float:
    """Log-probability of a token after others: known words are likely, and any depends on all before it."""
    base = -1.0 if token.strip() in ("Paris", "and", ",", "is") else -9.0
    return base - zlib.crc32("|".join([*before, token]).encode()) % 1000 / 1000


class Model(EvalClient):
    """A server as vLLM is. `faults` are the names of methods' cases below."""

    def __init__(self, *faults: str, bos: bool = False, most_stops: int = 4) -> None:
        self.faults, self.bos, self.most_stops = faults, bos, most_stops
        self.model, self.url = "tiny", "http://tiny"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.vocabulary: list[str] = [BOS]

    async def get(self, path: str) -> ClientResponse:
        if path == "/tokenizer_info":
            return said({"bos_token": BOS}) if "info" in self.faults else ClientResponse(404, b"Not Found")
        return said({"data": [{"id": "tiny", "max_model_len": 64}, {"id": "other"}]})

    async def post(self, path: str, fields: dict[str, Any]) -> ClientResponse:
        self.asked.append((path, fields))
        for name in self.faults:
            if name in path:
                return ClientResponse(404, b'{"detail":"Not Found"}')
        return {"/tokenize": self._tokenize, "/v1/completions": self._complete, "/v1/chat/completions": self._chat}[
            path
        ](fields)

    def tokens(self, text: str, special: bool) -> list[str]:
        found = [BOS] * (special and self.bos) + re.findall(r"\s?\w+|\s?[^\w\s]|\s", text)
        self.vocabulary += [token for token in found if token not in self.vocabulary]
        return found

    def _tokenize(self, fields: dict[str, Any]) -> ClientResponse:
        found = [BOS] if fields["prompt"] == BOS else self.tokens(fields["prompt"], fields["add_special_tokens"])
        return said({"tokens": [self.vocabulary.index(token) for token in found]})

    def _complete(self, fields: dict[str, Any]) -> ClientResponse:
        prompt = fields["prompt"]
        if isinstance(prompt, list):
            tokens = [self.vocabulary[token] for token in prompt]
        else:
            special = fields.get("add_special_tokens", True) or "special" in self.faults
            tokens = self.tokens(prompt, special)
        if "logprobs" in fields and "refused" in self.faults:
            return said({"error": {"message": "logprobs is not supported"}}, REFUSED)
        choice: dict[str, Any] = {"index": 0, "text": self._answer(fields), "finish_reason": "length"}
        if isinstance(choice["text"], ClientResponse):
            return choice["text"]
        if "logprobs" in fields and "null" not in self.faults:
            choice["logprobs"] = self._told(tokens, fields)
        if "prompt_logprobs" in fields and "silent" not in self.faults:
            choice["prompt_logprobs"] = self._ranked(tokens)
        usage = {"prompt_tokens": len(tokens), "completion_tokens": 1}
        return said({"object": "text_completion", "choices": [choice], "usage": usage})

    def _answer(self, fields: dict[str, Any]) -> Any:
        text, stop = " is what it is, one may say", fields.get("stop", [])
        if len(stop) > self.most_stops:
            return said({"error": {"message": "List should have at most 4 items"}}, REFUSED)
        if "stops" not in self.faults:
            text = text[: min([len(text), *(text.index(one) for one in stop if one in text)])]
        return text if fields["max_tokens"] > 1 else " is"

    def _told(self, tokens: list[str], fields: dict[str, Any]) -> dict[str, Any]:
        values = [value(tokens[:at], token) for at, token in enumerate(tokens)]
        if "shifted" in self.faults:
            values = [value(tokens[at:], token) for at, token in enumerate(tokens)]
        told = [(token, None if at == 0 else one) for at, (token, one) in enumerate(zip(tokens, values, strict=True))]
        told = told if fields.get("echo") and "ignored" not in self.faults else []
        if "short" in self.faults:
            told = told[:1] + told[3:]
        told.append((" is", -0.5))
        tops = [None if one is None else {token: one, "~": -0.7} for token, one in told]
        return {"tokens": [t for t, _ in told], "token_logprobs": [v for _, v in told], "top_logprobs": tops}

    def _ranked(self, tokens: list[str]) -> list[Any]:
        ranked = [
            {"5": {"logprob": value(tokens[:at], token), "rank": 1, "decoded_token": token}}
            for at, token in enumerate(tokens)
        ]
        return [None, *ranked[1:]]

    def _chat(self, fields: dict[str, Any]) -> ClientResponse:
        if "template" in self.faults:
            return said({"error": {"message": "default chat template is no longer allowed"}}, REFUSED)
        text = self._answer(fields)
        if isinstance(text, ClientResponse):
            return text
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        choice["finish_reason"] = "length"
        if fields.get("logprobs") and "null" not in self.faults:
            likely = [{"token": token, "logprob": -1.0} for token in ("A", "B", "C")]
            choice["logprobs"] = {"content": [{**likely[0], "top_logprobs": likely}]}
        found: dict[str, Any] = {"object": "chat.completion", "choices": [choice]}
        tokens = self.tokens("".join(f"[{one['role']}]{one['content']}" for one in fields["messages"]), True)
        if "prompt_logprobs" in fields and "silent" not in self.faults:
            found["prompt_logprobs"] = self._ranked(tokens)
        return said(found | {"usage": {"prompt_tokens": len(tokens), "completion_tokens": 1}})


def said(body: Any, status: int = 200) -> ClientResponse:
    return ClientResponse(status, json.dumps(body).encode())


def seen(*faults: str, **settings: Any) -> ServerCapabilities:
    return asyncio.run(probe(Model(*faults, **settings)))


def test_a_server_that_does_it_all() -> None:
    found = seen()
    assert found == ServerCapabilities(
        chat=True,
        completions=True,
        template=True,
        echo=True,
        prompt_logprobs=True,
        chat_prompt_logprobs=True,
        letters={"completions": 20, "chat": 20},
        tokenize=True,
        ids=True,
        context=64,
        stops=4,
        knows=True,
    )


def test_it_is_few_short_requests() -> None:
    model = Model()
    asyncio.run(probe(model))
    assert len(model.asked) < 25
    assert max(fields.get("max_tokens", 0) for _, fields in model.asked) <= 24


FAULTS = [
    (
        "ignored",
        {"echo": False, "prompt_logprobs": True},
        "echo",
        "it reports 1 generated tokens",
    ),
    ("null", {"echo": False, "letters": {}}, "echo", "the answer has no log-probabilities"),
    ("refused", {"echo": False}, "echo", r"HTTP 400: logprobs is not supported"),
    ("short", {"echo": False}, "echo", "it reports 5 tokens of a prompt that has 6"),
    ("shifted", {"echo": False}, "echo", "the same tokens have other log-probabilities when more text follows"),
    ("silent", {"echo": True, "prompt_logprobs": False}, "prompt_logprobs", "it ignores `prompt_logprobs`"),
    ("/v1/completions", {"completions": False, "echo": False, "chat": True}, "echo", "does not answer .HTTP 404."),
    ("chat", {"chat": False, "completions": True, "template": None}, "chat", "does not answer .HTTP 404."),
    ("template", {"chat": False, "template": False}, "chat", "default chat template is no longer allowed"),
    ("tokenize", {"tokenize": False, "ids": False, "echo": True}, "tokenize", "gives no tokens"),
    ("stops", {"stops": 0}, "stops", "went on after the stop text"),
]


@pytest.mark.parametrize(("fault", "abilities", "name", "why"), FAULTS, ids=[case[0] for case in FAULTS])
def test_what_a_server_cannot_do_is_seen_and_said(fault: str, abilities: dict[str, Any], name: str, why: str) -> None:
    found = seen(fault)
    assert {one: getattr(found, one) for one in abilities} == abilities
    assert re.search(why, found.why[name]), found.why


def test_a_token_before_each_text() -> None:
    assert (seen(bos=True).bos, seen(bos=True).plain) == (True, True)
    assert (seen("special", bos=True).bos, seen("special", bos=True).plain) == (True, False)
    blind = seen("tokenize", bos=True)
    assert (blind.bos, blind.plain, blind.ids) == (True, True, False)
    assert (seen(most_stops=9).stops, seen(most_stops=1).stops) == (5, None)


def test_over_the_transport_of_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the run's address and key; one that is busy is asked again, and given up at last."""
    clean(monkeypatch, tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    model, busy = Model(), [429, 503]

    def script(asked: Asked) -> tuple[int, str]:
        assert asked.headers["authorization"] == "Bearer sk-of-mine"
        if asked.path.endswith("/tokenize") and busy:
            return busy.pop(), "{}"
        path = asked.path.removeprefix("/proxy")
        heard = asyncio.run(model.get(path) if asked.method == "GET" else model.post(path, asked.body))
        return heard.status, heard.body.decode()

    monkeypatch.setattr(client, "PAUSES", (0.0, 0.0))
    with scripted(script) as url:
        assert asyncio.run(probe_servers(Config(url=f"{url}/proxy/v1"))) == [seen()]
        busy += [429] * 9
        with pytest.raises(UsageError, match=r"too busy to be asked what it can do \(HTTP 429\)"):
            asyncio.run(probe_servers(Config(url=f"{url}/proxy/v1")))


def test_other_apis_only_generate() -> None:
    (found,) = asyncio.run(probe_servers(Config(url="http://127.0.0.1:9", api="messages")))
    assert choose(task(), "auto", "messages", found).mode == "generation"
    with pytest.raises(UsageError, match="--api messages has none"):
        choose(task(), "letters", "messages", found)


def task(**settings: Any) -> Task:
    told: dict[str, Any] = {
        "generation": Generation(template="t", filters=()),
        "likelihood": Likelihood(template="t", letters=True),
        "default": "loglikelihood",
    }
    return Task(
        name="arc", title="", version=1, source="", data=Data(path="x"), query=str, target=str, **{**told, **settings}
    )


NOTHING = ServerCapabilities(
    chat=True, why={"echo": "it ignores `echo`", "completions": "x", "letters chat": "none told"}
)


def test_the_default_of_the_task_is_taken() -> None:
    found = choose(task(), "auto", None, seen())
    assert (found.mode, found.api, found.form, found.notice) == ("loglikelihood", "completions", "text", None)
    assert found.method == LogprobMethod("echo", ids=True)


WAYS = [
    ((), "loglikelihood", "chat", LogprobMethod("prompt_logprobs", "chat")),
    (("ignored",), "loglikelihood", None, LogprobMethod("prompt_logprobs", ids=True)),
    (("/v1/completions",), "loglikelihood", None, LogprobMethod("prompt_logprobs", "chat")),
    ((), "letters", None, LogprobMethod("letters")),
    ((), "letters", "chat", LogprobMethod("letters", "chat")),
]


@pytest.mark.parametrize(("faults", "mode", "api", "way"), WAYS)
def test_the_way_is_one_that_the_server_has(
    faults: tuple[str, ...], mode: Any, api: str | None, way: LogprobMethod
) -> None:
    assert choose(task(), mode, api, seen(*faults)).method == way


def test_without_special_tokens_where_the_server_takes_them_away() -> None:
    assert choose(task(), "auto", None, seen("tokenize", bos=True)).method == LogprobMethod("echo", plain=True)
    notice = choose(task(), "auto", None, seen("special", "tokenize", bos=True)).notice
    assert notice is not None
    assert notice.startswith("the server puts a token before each text")


def test_another_mode_is_said() -> None:
    found = choose(task(), "auto", None, NOTHING)
    assert (found.mode, found.api) == ("generation", "chat")
    assert found.notice == "arc is answered by generation, as the server does not do it: it ignores `echo`"


REFUSALS = [
    (task(), "loglikelihood", None, "--mode loglikelihood of arc is not possible.*ignores `echo`.*say --mode generat"),
    (task(generation=None), "loglikelihood", None, "arc cannot be answered by loglikelihood here.*ask a server that"),
    (task(likelihood=None, default="generation"), "letters", None, "arc cannot be answered by letters: leave --mode"),
    (task(likelihood=None, default="generation"), "auto", "completions", "arc cannot be .* say --api chat"),
]


@pytest.mark.parametrize(("asked", "mode", "api", "words"), REFUSALS)
def test_what_cannot_be_is_refused_with_what_to_type(asked: Task, mode: Any, api: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose(asked, mode, api, NOTHING)


def test_several_servers_can_do_what_all_can() -> None:
    found = common_capabilities([seen(), seen("ignored", "chat", bos=True)])
    assert (found.echo, found.prompt_logprobs, found.chat, found.bos, found.plain) == (False, True, False, True, False)
    assert found.letters == {"completions": 20}
    assert "ignores `echo`" in found.why["echo"]


AS_IDS = AnswerMode("loglikelihood", "completions", LogprobMethod("echo", ids=True))


def wanted(context: str, text: str, name: str = "t") -> EvalRequest:
    return EvalRequest(id=RequestId(name, 0), answer_mode=AS_IDS, prompt=context, continuation=text)


def cut(
    model: Model, folder: Path, *asked: EvalRequest, limit: int | None = None
) -> dict[str, tokenize.TokenizedRequest]:
    return asyncio.run(tokenize.tokenize_missing(asked, folder, model, limit))


def words(model: Model, found: tokenize.TokenizedRequest) -> tuple[list[str], list[str]]:
    tokens = [model.vocabulary[token] for token in found.tokens]
    return tokens[: found.context], tokens[found.context :]


def test_token_ids_as_lm_eval_has_them(tmp_path: Path) -> None:
    model = Model("info", bos=True)
    asked = [
        wanted("a b", " c d", "plain"),
        wanted("a b ", "c", "space"),
        wanted("", " c", "none"),
        wanted("ab", "cd ef", "joined"),
    ]
    found = cut(model, tmp_path, *asked)
    assert {name: words(model, one) for name, one in found.items()} == {
        "plain:0": (["a", " b"], [" c", " d"]),
        "space:0": (["a", " b"], [" c"]),
        "none:0": ([BOS], [" c"]),
        "joined:0": (["ab"], [" ef"]),
    }
    assert tokenize.read(tmp_path) == found
    before = len(model.asked)
    assert cut(model, tmp_path, *asked) == found
    assert len(model.asked) == before


def test_a_context_is_asked_for_once_and_cut_from_the_left(tmp_path: Path) -> None:
    model = Model()
    found = cut(model, tmp_path, *(wanted("a b c", f" {name}", name) for name in "xyz"), limit=3)
    assert [fields["prompt"] for _, fields in model.asked].count("a b c") == 1
    assert (words(model, found["x:0"]), found["x:0"].lost) == (([" c"], [" x"]), 2)
    assert cut(model, tmp_path, wanted("a", " b c d e", "long"), limit=3).get("long:0") is None


def test_what_has_no_token_before_it_stays_a_text(tmp_path: Path) -> None:
    assert cut(Model(), tmp_path, wanted("", " c")) == {}
    chat = EvalRequest(id=RequestId("c", 0), answer_mode=AS_IDS, prompt=[], continuation="x")
    assert cut(Model(), tmp_path, chat) == {}


def test_a_long_text_is_scored_in_windows(tmp_path: Path) -> None:
    """Every token once, the first after the token that begins texts, each window as long as the model takes."""
    model = Model("info", bos=True)
    text = " ".join(map(str, range(12)))
    asked = wanted("", text)
    cuts = cut(model, tmp_path, asked, limit=7)
    parts = tokenize.apply([asked], cuts)
    assert [str(part.id) for part in parts] == ["t:0", "t:0~1", "t:0~2"]
    said = [[model.vocabulary[token].strip() for token in part.tokens or []] for part in parts]
    assert said == [[BOS, *"01234"], list("456789"), ["6", "7", "8", "9", "10", "11"]]
    assert [part.context_tokens for part in parts] == [1, 1, 4]


@pytest.mark.parametrize("name", ["t", "a~1:0/0", "a:0#1"])
def test_windows_add_up(name: str) -> None:
    other = wanted("", "y", "u")
    cuts = {f"{name}:0": tokenize.TokenizedRequest(f"{name}:0", [], 1, 0, [([1, 2], 1), ([2, 3], 1)])}
    parts = tokenize.apply([wanted("", "x", name), other], cuts)
    one, two = RequestId(name, 0), RequestId(name, 0, window=1)
    first, second = Response(values=[(-1.0, True)]), Response(values=[(-2.5, False)])
    lost = Response(failure="timeout")
    assert tokenize.join_windows({one: first, two: second}, parts)[one].values == [(-3.5, False)]
    assert tokenize.join_windows({one: first, two: lost}, parts)[one].failure == "timeout"
    assert tokenize.join_windows({one: first}, parts)[one].failure == "unsent"
    assert tokenize.join_windows({other.id: first}, parts) == {other.id: first}


def test_ids_go_with_their_requests(tmp_path: Path) -> None:
    cuts = {"t:0": tokenize.TokenizedRequest("t:0", [1, 2, 3], 2)}
    one, other = tokenize.apply([wanted("a", " b"), wanted("a", " c", "u")], cuts)
    assert (one.tokens, one.context_tokens) == ([1, 2, 3], 2)
    assert other.tokens is None
    (tmp_path / tokenize.FILE).write_bytes(msgspec.json.encode(cuts["t:0"]) + b'\n{"id": "u:0", "tok')
    assert tokenize.read(tmp_path) == cuts


def test_a_tokenizer_that_fails_ends_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/tokenize gives no tokens for 'a b' \(HTTP 404"):
        cut(Model("tokenize"), tmp_path, wanted("a", " b"))


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (200, b'{"message": "the chat template is fine"}', None),
        (400, b'{"message": "the model has no chat template"}', Refusal.NO_CHAT_TEMPLATE),
        (400, b'{"message": "max_tokens is too large"}', Refusal.OTHER),
        (404, b'{"message": "no template of this path"}', Refusal.OTHER),
    ],
)
def test_a_missing_chat_template_is_a_refusal_of_its_own(status: int, body: bytes, refusal: Refusal | None) -> None:
    assert ClientResponse(status, body).refusal is refusal
