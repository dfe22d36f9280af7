"""A setting that a protocol, a connection or a load is said not to use changes nothing that is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loadstone.apis import API, APIS
from loadstone.config.flags import settings_of
from loadstone.config.schema import Config
from loadstone.config.unused import UnusedNotice
from loadstone.engine import prepare
from loadstone.engine.unused import request_reasons
from loadstone.errors import UsageError
from loadstone.records import Prompt

URL = "http://127.0.0.1:9"
GIVEN: dict[str, Any] = {
    "stream": False,
    "usage": "each",
    "output_len": 7,
    "temperature": 0.5,
    "ignore_eos": True,
    "model": "other",
    **dict.fromkeys(("top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"), 0.5),
    **dict.fromkeys(("top_k", "min_tokens", "sampling_seed", "logprobs", "choices"), 3),
    "stop": ["x"],
    "chat_template_kwargs": {"a": 1},
    "extra_body": {"b": 2},
}
TEMPLATES = {"template": '{"text": "%p", "model": "%m"}', "template without model": '{"text": "%p"}'}


def config_of(api: str, **settings: Any) -> Config:
    if api in TEMPLATES:
        return Config(url=URL, clock="user", api="template", body_template=TEMPLATES[api], text_path="text", **settings)
    return Config(url=URL, clock="user", api=api, **settings)


def request_of(config: Config) -> tuple[Any, ...]:
    """Return what a run of these settings sends for a prompt: path, body, and whether a stream is expected."""
    api = prepare.find_api(config)
    prompt = Prompt(id="p", text="Hello", documents=["a", "b"])
    endpoints = prepare.create_endpoints(config, api)
    request = prepare.prepare_requests(config, api, endpoints, [config.model or "m"], [prompt]).get(0)
    return request.request.path, request.request.body, request.streamed


@pytest.mark.parametrize("setting", GIVEN)
@pytest.mark.parametrize("api", [*sorted(APIS.keys() - {"template"}), *TEMPLATES])
def test_an_unused_setting_of_a_protocol_changes_no_request(api: str, setting: str) -> None:
    plain, given = config_of(api), config_of(api, **{setting: GIVEN[setting]})
    unused = request_reasons(given, {given.api or "chat": prepare.find_api(given)})
    try:
        after = request_of(given)
    except UsageError:
        assert not unused  # what is refused needs no notice
        return
    assert unused.keys() <= {setting}
    assert (after == request_of(plain)) == (setting in unused)


def test_only_fields_of_a_request_are_declared() -> None:
    for api in [*sorted(APIS.keys() - {"template"}), *TEMPLATES]:
        assert set(prepare.find_api(config_of(api)).unused) <= set(settings_of(Config))
    assert API.unused == ()


REASONS: list[tuple[dict[str, Any], set[str]]] = [
    ({"batch_size": 4}, {"batch_size"}),
    ({"insecure": True}, {"insecure"}),
    ({"insecure": True, "url": "https://127.0.0.1:9"}, set()),
    ({"insecure": True, "url": [URL, "HTTPS://127.0.0.1:9"], "balance": "sticky"}, set()),
    ({"insecure": True, "scrape": "https://127.0.0.1:9"}, set()),
    ({"ca_file": "a.pem", "url": "unix:/a.sock"}, {"ca_file"}),
    ({"balance": "sticky"}, {"balance"}),
    ({"clock": "user", "transport": "aiohttp"}, set()),
    ({"url": None, "model": "dummy", "batch_size": 4}, set()),
    ({"url": None, "model": "dummy", "clock": "kernel", "retries": 2}, {"clock", "retries"}),
    ({"url": None, "model": "dummy", "connect_timeout": 2.0, "scrape_every": 2.0}, {"connect_timeout", "scrape_every"}),
    ({"url": None, "model": "dummy", "connect_timeout": 2.0, "scrape": URL, "scrape_all": True}, set()),
    ({"url": None, "model": "dummy", "stream": False, "usage": "off"}, {"stream", "usage"}),
]


@pytest.mark.parametrize(("settings", "unused"), REASONS)
def test_what_connections_do_not_use(settings: dict[str, Any], unused: set[str]) -> None:
    config = Config(**{"url": URL, **settings})
    assert request_reasons(config, {"chat": prepare.find_api(config)}).keys() == unused


def test_a_setting_is_used_if_one_of_the_protocols_sends_it() -> None:
    config = Config(url=URL, usage="off", temperature=1.0)
    apis = {name: prepare.find_api(config_of(name)) for name in ("messages", "embeddings")}
    assert request_reasons(config, apis) == {"usage": "a request of --api messages or embeddings does not depend on it"}
    assert not request_reasons(config, apis | {"chat": prepare.find_api(config)})


def notices(folder: Path, lines: str, **settings: Any) -> list[str]:
    """Return the notices before a run of these prompts against a model in this process."""
    file = folder / "prompts.jsonl"
    file.write_text(lines, "utf-8")
    config = Config(dataset=str(file), model="dummy", **settings).check()
    seen: list[str] = []

    async def work() -> None:
        async with prepare.open_run(config, seen.append):
            pass

    asyncio.run(work())
    return [text for text in seen if isinstance(text, UnusedNotice)]


ONE = '{"prompt": "a"}\n'
LOADS: list[tuple[str, dict[str, Any], str]] = [
    (ONE, {"rescale": False}, "--no-rescale is not used: the load is a number of requests in flight"),
    (
        ONE * 2,
        {"rescale": False, "rate": 5.0, "arrivals": "constant"},
        "--no-rescale is not used: the arrivals are not random",
    ),
    (ONE * 2, {"rescale": False, "rate": 5.0}, ""),
    (ONE, {"shuffle": True}, "--shuffle is not used: there is one prompt"),
    (ONE * 2, {"shuffle": True}, ""),
    (
        ONE,
        {"stages": "1s@c2", "concurrency": 3},
        "--concurrency is not used: the stages have concurrencies of their own",
    ),
    (ONE, {"stages": "1s@2", "concurrency": 3}, ""),
    (
        ONE,
        {"match_output_length": True},
        "--match-output-length is not used: neither the prompts nor --output-len have a length",
    ),
    (ONE, {"match_output_length": True, "output_len": 4}, ""),
    ('{"prompt": "a", "output_len": 4}\n', {"match_output_length": True}, ""),
]


@pytest.mark.parametrize(("lines", "settings", "text"), LOADS)
def test_what_a_load_does_not_use(lines: str, settings: dict[str, Any], text: str, tmp_path: Path) -> None:
    assert notices(tmp_path, lines, **settings) == ([text] if text else [])


def test_one_notice_names_all(tmp_path: Path) -> None:
    assert notices(tmp_path, ONE, turns=3, retries=2, shuffle=True) == [
        "--retries is not used: the model runs in this process;"
        f" --turns is not used: {tmp_path / 'prompts.jsonl'} has its own prompts;"
        " --shuffle is not used: there is one prompt"
    ]
