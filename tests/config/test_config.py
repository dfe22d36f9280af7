"""Test the settings: what is refused and in which words, which defaults follow, what is hidden, how URLs are parsed."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest

from loadstone.apis import RequestSettings
from loadstone.apis.openai import Chat
from loadstone.config import secrets
from loadstone.config.kinds import parse_fraction, parse_seconds
from loadstone.config.redact import HIDDEN
from loadstone.config.schema import Config, from_mapping
from loadstone.config.stages import Stage
from loadstone.engine import requests as jobs
from loadstone.engine.prepare import create_endpoints, find_api
from loadstone.errors import UsageError
from loadstone.records import Prompt
from loadstone.schedule.plan import DatasetShape, Load, make_plan
from loadstone.transport import Target, address
from support import sentences as sentences

KEY = "sk-very-secret"


# What --rate takes, with what to do instead of vLLM's `inf`.
A_RATE = "a number above 0 (to send without a rate, leave it out and give -c N)"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"requests": 0}, "--requests takes 1 to 1e+18, not 0"),
        ({"concurrency": -1}, "--concurrency takes 1 or more, not -1"),
        ({"input_len": 0}, "--input-len takes 1 or more, not 0"),
        ({"output_len": 0}, "--output-len takes 1 or more, not 0"),
        ({"warmup": -1}, "--warmup takes 0 or more, not -1"),
        ({"grace": -0.5}, "--grace takes 0 or more, not -0.5"),
        ({"grace": math.inf}, "--grace takes 0 or more, not inf"),
        ({"seed": -1}, "--seed takes 0 or more, not -1"),
        ({"rate": 0.0}, f"--rate takes {A_RATE}, not 0.0"),
        ({"rate": math.nan}, f"--rate takes {A_RATE}, not nan"),
        ({"rate": math.inf}, f"--rate takes {A_RATE}, not inf"),
        ({"duration": -3.0}, "--duration takes a number above 0, not -3.0"),
        ({"connect_timeout": 0.0}, "--connect-timeout takes a number above 0, not 0.0"),
        ({"ttft_timeout": 0.0}, "--ttft-timeout takes a number above 0, not 0.0"),
        ({"idle_timeout": -1.0}, "--idle-timeout takes a number above 0, not -1.0"),
        ({"timeout": 0.0}, "--timeout takes a number above 0, not 0.0"),
        ({"range_ratio": 1.5}, "--range-ratio takes 0 to 1, not 1.5"),
        ({"range_ratio": -0.5}, "--range-ratio takes 0 to 1, not -0.5"),
        ({"max_error_rate": 2.0}, "--max-error-rate takes 0 to 1, not 2.0"),
        ({"max_error_rate": -0.1}, "--max-error-rate takes 0 to 1, not -0.1"),
        ({"arrivals": "gauss"}, "--arrivals takes constant, poisson, gamma or replay, not gauss"),
        ({"burstiness": 0.001}, "--burstiness takes 0.01 or more (gaps would be 0 or hours), not 0.001"),
        ({"burstiness": 2.0, "arrivals": "constant"}, "--burstiness shapes --arrivals gamma, not constant"),
        ({"speed": -1.0}, "--speed takes a number above 0, not -1.0"),
        ({"trace_to": 0.0}, "--to takes a number above 0, not 0.0"),
        ({"cancel_share": 1.5, "cancel_after": 1.0}, "--cancel-share takes 0 to 1, not 1.5"),
        ({"choices": 0}, "--n-choices takes 1 or more, not 0"),
        ({"warmup": "ten"}, "--warmup takes a number of requests or a time such as 10s, not 'ten'"),
        ({"cooldown": "-3s"}, "--cooldown takes a number of requests or a time such as 10s, not '-3s'"),
        ({"rate": 2.0, "stages": "30s@2"}, "--rate and --stages exclude each other: stages have rates of their own"),
        ({"requests": 9, "stages": "30s@2"}, "--requests and --stages exclude each other: stages end by time"),
        (
            {"duration": 9.0, "stages": "3s@2"},
            "--duration and --stages exclude each other: stages have times of their own",
        ),
        ({"rate": 2.0, "arrivals": "replay"}, "--arrivals replay takes the recorded times, so leave out --rate"),
        ({"stages": "3s@2", "arrivals": "replay"}, "--arrivals replay takes the recorded times, so leave out --stages"),
        ({"tokenize_prompt": True}, "--tokenize-prompt needs --tokenizer: with it the prompts become token ids"),
        (
            {"cancel_share": 0.1},
            "--cancel-share needs --cancel-after: say after how long a request is cancelled, such as 500ms",
        ),
        (
            {"cancel_after": 0.1},
            "--cancel-after needs --cancel-share: say how many requests are cancelled, such as 0.1",
        ),
        (
            {"goodput": {"ttft": 0.0}},
            "--goodput takes METRIC<TIME such as 'ttft<200ms, tpot<50ms' or ttft:200ms, not 'ttft:0.0s'",
        ),
    ],
)  # fmt: skip
def test_settings_out_of_range(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Config(**setting).check()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "setting",
    [
        {"warmup": 0},
        {"grace": 0.0},
        {"range_ratio": 0.0},
        {"range_ratio": 1.0},
        {"timeout": None},
        {"rate": 0.001},
        {"seed": 0},
    ],
)
def test_settings_at_their_limits(setting: dict[str, Any]) -> None:
    Config(**setting).check()


@pytest.mark.parametrize(
    ("given", "timed", "requests", "concurrency", "arrivals"),
    [
        ({}, False, 100, 8, None),
        ({"requests": 5}, False, 5, 8, None),
        ({"duration": 5.0}, False, None, 8, None),
        ({"rate": 5.0}, False, 100, None, "poisson"),
        ({"rate": 5.0, "duration": 5.0, "concurrency": 3}, False, None, 3, "poisson"),
        ({"rate": 5.0, "burstiness": 0.5}, False, 100, None, "gamma"),
        ({"stages": "3s@2"}, False, None, None, "poisson"),
        ({"stages": "3s@c2"}, False, None, None, "poisson"),
        ({}, True, None, None, "replay"),
        ({"arrivals": "replay", "concurrency": 4}, True, None, 4, "replay"),
        ({"concurrency": 4}, True, 100, 4, None),
        ({"rate": 5.0}, True, 100, None, "poisson"),
        ({"requests": 7, "speed": 2.0}, True, 7, None, "replay"),
    ],
)
def test_what_follows_is_filled_in(
    given: dict[str, Any], timed: bool, requests: int | None, concurrency: int | None, arrivals: str
) -> None:
    config = Config(**given).check().with_defaults(timed)
    assert (config.requests, config.concurrency, config.arrivals) == (requests, concurrency, arrivals)


def test_arrivals_need_a_rate() -> None:
    for given in ({"arrivals": "gamma"}, {"burstiness": 0.5}):
        with pytest.raises(UsageError, match=r"how requests arrive at a rate: give --rate or --stages with it$"):
            Config(**given).check()  # type: ignore[arg-type]


def test_names_and_times_of_a_file_are_those_of_the_flags() -> None:
    found = from_mapping({"n-choices": 2, "from": "1s", "to": 2.5, "duration": "1m60s", "cancel-after": "20ms"})
    assert (found.choices, found.trace_from, found.trace_to) == (2, 1.0, 2.5)
    assert (found.duration, found.cancel_after) == (120.0, 0.02)
    with pytest.raises(UsageError, match=r"^--duration takes a time such as 30, 500ms, 2m or 1h30m, not 'soon'$"):
        from_mapping({"duration": "soon"})


def test_a_mix_has_shares_above_0() -> None:
    with pytest.raises(UsageError, match=r"^--model takes shares above 0, not 'a=0,b=1'$"):
        Config(model="a=0,b=1").check()


def test_request_ids_are_not_given_twice() -> None:
    with pytest.raises(UsageError, match=r"^--request-id and a --header X-Request-Id"):
        Config(request_id="a-", header={"x-request-id": "b"}).check()


def test_speed_is_for_traces() -> None:
    with pytest.raises(UsageError, match=r"^--speed is for recorded times"):
        Config(speed=2.0).with_defaults(timed=False)


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("org/model-7b", [("org/model-7b", 1.0)]),
        ("a=3,b=1", [("a", 3.0), ("b", 1.0)]),
        ("base=0.9,org/lora=0.1", [("base", 0.9), ("org/lora", 0.1)]),
        ("a=3", [("a=3", 1.0)]),
        ("a,b", [("a,b", 1.0)]),
    ],
)
def test_mixes_of_models(text: str, models: list[tuple[str, float]]) -> None:
    assert Config(model=text).models == models


def test_load() -> None:
    config = Config(rate=3.0, requests=7, warmup=2, seed=5, shuffle=True, arrivals="constant", concurrency=4)
    assert Load.of(config) == Load(
        rate=3.0, requests=7, warmup=2, seed=5, shuffle=True, arrivals="constant", concurrency=4
    )
    timed = Load.of(
        Config(warmup="10s", cooldown="500ms", stages="3s@c2", model="a=1,b=2", url=["http://a", "http://b"])
    )
    assert timed == Load(
        warmup_time=10.0, cooldown_time=0.5, stages=(Stage(3, 2, 2, True),), models=(1.0, 2.0), servers=2
    )


# Secrets


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "api-key", "X-API-Key", "Cookie", "X-Auth-Token", "Proxy-Authorization"]
)
def test_secret_headers_are_hidden(name: str) -> None:
    assert Config(header={name: KEY, "X-Trace": "7"}).redacted()["header"] == {name: HIDDEN, "X-Trace": "7"}


@pytest.mark.parametrize("value", [f"Bearer {KEY}", "basic YWxpY2U6cHc=", KEY])
def test_headers_that_look_secret_are_hidden(value: str) -> None:
    assert Config(header={"X-Upstream": value}).redacted()["header"] == {"X-Upstream": HIDDEN}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/v1", "http://h/v1"),
        ("http://h/v1?api_key=k&x=1", "http://h/v1?api_key=***&x=1"),
        ("http://h/v1?x=1&token=k", "http://h/v1?x=1&token=***"),
        ("http://h/v1?sig=k#end", "http://h/v1?sig=***#end"),
        ("http://h/v1?api-version=2024", "http://h/v1?api-version=2024"),
        ("http://alice:pw@h/v1", "http://***@h/v1"),
        (None, None),
    ],
)
def test_secrets_in_the_url_are_hidden(url: str | None, shown: str | None) -> None:
    assert Config(url=url).redacted()["url"] == shown


def test_secrets_in_templates_are_hidden() -> None:
    config = Config(
        body_template=f'{{"p": "%p", "api_key": "{KEY}"}}', chat_template_kwargs={"auth_token": KEY, "thinking": True}
    )
    shown = config.redacted()
    assert shown["body_template"] == '{"p":"%p","api_key":"***"}'
    assert shown["chat_template_kwargs"] == {"auth_token": HIDDEN, "thinking": True}
    assert KEY in secrets.find_secrets(config)


def test_secrets_in_the_extra_body_are_hidden() -> None:
    body = {
        "api_key": KEY,
        "max_tokens": 5,
        "stop_token_ids": [1, 2],
        "nested": [{"password": KEY, "top_p": 0.5}],
        "auth": {"user": "alice", "levels": [KEY, 3]},
        "stop": ["\n"],
    }
    assert Config(extra_body=body).redacted()["extra_body"] == {
        "api_key": HIDDEN,
        "max_tokens": 5,
        "stop_token_ids": [1, 2],
        "nested": [{"password": HIDDEN, "top_p": 0.5}],
        "auth": {"user": HIDDEN, "levels": [HIDDEN, 3]},
        "stop": ["\n"],
    }


def test_what_is_shown_is_json_and_reads_back() -> None:
    config = Config(url="http://h", extra_body={"a": [1]}, goodput={"ttft": 0.2}).check()
    assert msgspec.json.decode(msgspec.json.encode(config.redacted()), type=Config) == config


# TOML and flags


def test_from_mapping_takes_both_spellings() -> None:
    assert from_mapping({"output-len": 5, "save_text": True}) == Config(output_len=5, save_text=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concurency": 5}, "`run` has no setting 'concurency' (did you mean concurrency?); …"),
        ({"output_lenn": 5}, "`run` has no setting 'output-lenn' (did you mean output-len?); …"),
        ({"zzz": 5}, "`run` has no setting 'zzz'; see loadstone run --help"),
        ({"requests": "many"}, "--requests takes a whole number, not 'many'"),
        ({"transport": "pigeon"}, "--transport takes wire or aiohttp, not 'pigeon'"),
    ],
)
def test_from_mapping_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(fields)
    assert sentences.same(message, str(caught.value))


@pytest.mark.parametrize(
    ("text", "value"), [("10%", 0.1), ("0.1", 0.1), (".5", 0.5), ("2.5 %", 0.025), ("0", 0.0), ("150%", 1.5)]
)
def test_fractions(text: str, value: float) -> None:
    assert parse_fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ten", "-1%", "+1%", "1%%", "1/2", "nan"])
def test_fractions_refuse(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30),
        ("30s", 30),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("2m", 120),
        ("2min", 120),
        ("1h", 3600),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1m30s500ms", 90.5),
        (".5", 0.5),
        ("1.", 1),
    ],
)
def test_seconds(text: str, value: float) -> None:
    assert parse_seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1w", "1 s", "1e3", "inf", "nan", ".", "1.2.3", "1m1h", "1s1s", "1h30"]
)
def test_seconds_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="^" + text.replace(".", r"\.") + "$"):
        parse_seconds(text)


# URLs


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        ("http://localhost:8000", Target("localhost", 8000), ""),
        ("http://localhost:8000/", Target("localhost", 8000), ""),
        ("http://h", Target("h", 80), ""),
        ("https://h", Target("h", 443, secure=True), ""),
        ("HTTPS://H:8443/v1/", Target("h", 8443, secure=True), "/v1"),
        ("http://127.0.0.1:1/a/b", Target("127.0.0.1", 1), "/a/b"),
        ("http://[::1]:8000/v1", Target("::1", 8000), "/v1"),
        ("https://[fe80::1]", Target("fe80::1", 443, secure=True), ""),
        ("https://h/openai?api-version=1", Target("h", 443, secure=True), "/openai?api-version=1"),
        ("http://h/a b/é", Target("h", 80), "/a%20b/%C3%A9"),
        ("http://h/a%20b", Target("h", 80), "/a%20b"),
        ("http://bücher.example/v1", Target("xn--bcher-kva.example", 80), "/v1"),
        ("http://模型.example:8000", Target("xn--xgs754b.example", 8000), ""),
        ("http://my_host.example.", Target("my_host.example.", 80), ""),
        ("unix:/run/llm.sock", Target("localhost", 0, unix="/run/llm.sock"), ""),
        ("unix:///run/llm.sock", Target("localhost", 0, unix="/run/llm.sock"), ""),
        ("http+unix://%2Frun%2Fllm.sock", Target("localhost", 0, unix="/run/llm.sock"), ""),
        ("http+unix://%2Frun%2Fllm.sock/v1/", Target("localhost", 0, unix="/run/llm.sock"), "/v1"),
    ],
)
def test_locate(url: str, target: Target, path: str) -> None:
    assert address.parse_url(url) == (target, path)


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost", "localhost:8000", "127.0.0.1:8000", "ftp://h", "http://", "http:///v1", "http://h:port",
        "http://h:0", "http://h:70000", "http://[::1", "http://a b/", "unix:", "unix:/", "unix:relative.sock",
        "http+unix:///v1", "http://a..b/", "http://.a/", f"http://{'a' * 64}/", "http://h\ufdd0/",
    ],
)  # fmt: skip
def test_locate_refuses(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.parse_url(url)
    assert str(caught.value) == f"--url takes http://HOST:PORT, https://HOST or unix:/PATH, not {url!r}"


@pytest.mark.parametrize("url", ["http://alice:pw@h/v1", "alice:pw@h", "http://pw@h"])
def test_locate_does_not_repeat_passwords(url: str) -> None:
    with pytest.raises(UsageError, match=r"\*\*\*@h") as caught:
        address.parse_url(url)
    assert "pw" not in str(caught.value)


CHAT, MODELS = "/v1/chat/completions", "/v1/models"


@pytest.mark.parametrize(
    ("base", "path", "models"),
    [
        ("", "/v1/chat/completions", "/v1/models"),
        ("/v1", "/v1/chat/completions", "/v1/models"),
        ("/proxy", "/proxy/v1/chat/completions", "/proxy/v1/models"),
        ("/proxy/v1", "/proxy/v1/chat/completions", "/proxy/v1/models"),
        ("/v1/chat/completions", "/v1/chat/completions", "/v1/models"),
        ("/proxy/v1/chat/completions", "/proxy/v1/chat/completions", "/proxy/v1/models"),
        ("?k=1", "/v1/chat/completions?k=1", "/v1/models?k=1"),
        ("/v1?k=/v1", "/v1/chat/completions?k=/v1", "/v1/models?k=/v1"),
        ("/v1/chat/completions?k=1", "/v1/chat/completions?k=1", "/v1/models?k=1"),
        ("/v10", "/v10/chat/completions", "/v10/models"),
        ("/api/v3", "/api/v3/chat/completions", "/api/v3/models"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions", "/api/paas/v4/models"),
        ("/api/paas/v4/chat/completions", "/api/paas/v4/chat/completions", "/api/paas/v4/models"),
        ("/openai/v1", "/openai/v1/chat/completions", "/openai/v1/models"),
        ("/inference/v1beta2", "/inference/v1beta2/chat/completions", "/inference/v1beta2/models"),
        ("/chat/completions", "/chat/completions", "/models"),
        ("/api/chat/completions", "/api/chat/completions", "/api/models"),
        (
            "/openai/deployments/gpt4/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt4/chat/completions?api-version=2024-10-21",
            "/openai/deployments/gpt4/models?api-version=2024-10-21",
        ),
        (
            "/openai/deployments/gpt4?api-version=1",
            "/openai/deployments/gpt4/chat/completions?api-version=1",
            "/openai/deployments/gpt4/models?api-version=1",
        ),
        ("/v2x", "/v2x/v1/chat/completions", "/v2x/v1/models"),
        ("/v", "/v/v1/chat/completions", "/v/v1/models"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions", "/v1beta/openai/models"),
    ],
)
def test_paths(base: str, path: str, models: str) -> None:
    assert address.join_path(base, CHAT) == path
    assert address.sibling_path(base, CHAT, MODELS) == models


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [
        ("/api/v3/responses", "/v1/responses", "/api/v3/responses"),
        ("/v1/rerank", "/v1/rerank", "/v1/rerank"),
        ("/rerank", "/v1/rerank", "/rerank"),
        ("/generate", "/generate", "/generate"),
        ("/v1", "/generate", "/v1/generate"),
        ("/v1", "/api/chat", "/v1/api/chat"),
        ("/x/embeddings?api-version=2", "/v1/embeddings", "/x/embeddings?api-version=2"),
        ("/anything", "", "/anything"),
    ],
)
def test_paths_of_other_protocols(base: str, path: str, joined: str) -> None:
    assert address.join_path(base, path) == joined


@pytest.mark.parametrize("base", ["/v1/completions", "/v1/embeddings", "/api/responses?x=1"])
def test_the_whole_path_of_another_protocol_is_refused(base: str) -> None:
    with pytest.raises(UsageError, match="--api"):
        address.join_path(base, CHAT)
    with pytest.raises(UsageError, match="--api"):
        address.join_path("/v1/chat/completions", "/v1/completions")


def test_headers_of_a_row_stand_for_those_of_the_run() -> None:
    row = Prompt(id="a", text="Hi", headers={"x-tenant": "row", "X-Auth-Token": KEY})
    headers = (("X-Tenant", "run"), ("X-Team", "t"))
    made = jobs.PreparedRequests([row], Chat(), [RequestSettings(model="m")], "/x", headers)
    request = made.get(0).request
    assert request.own_headers == (("x-tenant", "row"), ("X-Auth-Token", KEY))
    assert [name for name, _ in request.headers] == ["Content-Type", "Accept", "X-Team"]
    plan = make_plan(Load(requests=1), DatasetShape(["a"]))
    (line,) = made.body_lines(plan)
    assert msgspec.json.decode(line)["headers"] == {"x-tenant": "row", "X-Auth-Token": HIDDEN}


class Broken(Chat):
    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        raise KeyError("oops")


def test_mistakes_of_somebody_elses_class_are_named() -> None:
    made = jobs.PreparedRequests([], Broken(), [RequestSettings(model="m")], "/x", ())
    with pytest.raises(UsageError, match=r"^--api: Broken\.body cannot take a: KeyError: 'oops'$"):
        made.build(Prompt(id="a", text="Hi"))


def test_later_turns_are_tried_before_anything_is_sent() -> None:
    talk = Prompt(id="a", text="Hi", later=[Prompt(id="a.2", messages=[{"role": "user", "content": None}])])
    seen: list[int] = []

    class Picky(Chat):
        def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
            seen.append(len(prompt.messages or []))
            if len(prompt.messages or []) == 3:
                raise UsageError("no")
            return super().build_body(prompt, settings)

    with pytest.raises(UsageError, match=r"^no$"):
        jobs.PreparedRequests([talk], Picky(), [RequestSettings(model="m")], "/x", ())
    assert seen == [0, 3]


def test_jobs() -> None:
    prompts = [Prompt(id="a", text="Hi", output_len=9), Prompt(id="b", text="Ho", body={"stream": False})]
    made = jobs.PreparedRequests(prompts, Chat(), [RequestSettings(model="m")], "/x", (("X-A", "1"),))
    first, second = made.get(0), made.get(1)
    assert (first.prompt.id, first.streamed, first.output_len) == ("a", True, 9)
    assert (second.prompt.id, second.streamed, second.output_len) == ("b", False, None)
    assert (first.request.method, first.request.path) == ("POST", "/x")
    assert first.request.headers == (("Content-Type", "application/json"), ("Accept", "*/*"), ("X-A", "1"))
    assert msgspec.json.decode(first.request.body)["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("name", ["label", "dataset", "model"])
def test_text_that_is_not_utf_8_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^--{name} is not UTF-8: type it anew$"):
        from_mapping({name: "a\udcff"})


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/score", "/score"),
        ("score?a=b", "/score?a=b"),
        ("a b/é", "/a%20b/%C3%A9"),
        ("x\r\nX-Injected: 1", "/x%0D%0AX-Injected:%201"),
        ("x HTTP/1.1", "/x%20HTTP/1.1"),
    ],
)
def test_a_path_is_escaped_as_that_of_a_url(path: str, sent: str) -> None:
    config = Config(url="http://127.0.0.1:1/base", path=path, clock="user").check()
    (endpoint,) = create_endpoints(config, find_api(config))
    assert endpoint.path == f"/base{sent}"
