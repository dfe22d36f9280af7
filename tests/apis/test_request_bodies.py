"""Request bodies: what each protocol makes of a prompt and the settings, and what it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadstone import apis
from loadstone.apis import RequestSettings
from loadstone.errors import UsageError
from loadstone.plugins import load_instance
from loadstone.records import Prompt
from support import servers as servers
from support.protocols import HI, IDS, MAKERS, PAIRS, TALK


def test_every_built_in_protocol_is_tried_here() -> None:
    assert set(MAKERS) == set(apis.APIS)
    for name in set(apis.APIS) - {"template"}:
        assert isinstance(load_instance("loadstone.apis", name, apis.APIS, "--api"), MAKERS[name])  # type: ignore[arg-type]


PICTURE = Prompt(
    id="p",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        }
    ],
)
LINK = Prompt(
    id="p", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]
)
EXACT: dict[str, Any] = {"output_len": 7, "exact_length": True, "temperature": 0.5}
# Every parameter, in the reverse of the order in which bodies have them.
ALL = {
    **{"n": 2, "logprobs": 4, "seed": 3, "stop": ["."], "min_tokens": 2, "repetition_penalty": 1.1},
    **{"frequency_penalty": 0.3, "presence_penalty": 0.2, "min_p": 0.1, "top_k": 5, "top_p": 0.9},
}
PLAIN = {"top_p": 0.9, "top_k": 5, "stop": "."}
MAX = '"max_tokens":7,"temperature":0.5'
LENGTH = '"min_tokens":7,"ignore_eos":true'
USAGE = '"stream":true,"stream_options":{"include_usage":true}'
MANY = (
    '"top_p":0.9,"top_k":5,"min_p":0.1,"presence_penalty":0.2,"frequency_penalty":0.3,"repetition_penalty":1.1,'
    '"min_tokens":2,"stop":["."],"seed":3'
)
BODIES: dict[str, tuple[str, Prompt, dict[str, Any], str]] = {
    "chat": (
        "chat",
        HI,
        EXACT,
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{MAX},{USAGE},{LENGTH}}}',
    ),
    "chat, match over what the row says": (
        "chat",
        Prompt(id="x", text="hi", output_len=7, body={"max_completion_tokens": 90, "max_tokens": 90}),
        {"exact_length": True, "stream": False},
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"max_tokens":7,"stream":false,{LENGTH}}}',
    ),
    "chat, a row that does not stream": (
        "chat",
        Prompt(id="x", text="hi", body={"stream": False}),
        {},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}',
    ),
    "chat, match leaves a grammar its end": (
        "chat",
        Prompt(id="x", text="hi", output_len=7, body={"response_format": {"type": "json_object"}}),
        {"exact_length": True, "stream": False},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":7,"stream":false,'
        '"response_format":{"type":"json_object"}}',
    ),
    "chat, sampling": (
        "chat",
        HI,
        {"sampling": ALL, "stream": False},
        f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{MANY},"logprobs":true,"n":2,"stream":false,'
        '"top_logprobs":4}',
    ),
    "completions, sampling": (
        "completions",
        IDS,
        {"sampling": ALL, "stream": False},
        f'{{"model":"m","prompt":[5,6],{MANY},"logprobs":4,"n":2,"stream":false}}',
    ),
    "completions, match without a length": (
        "completions",
        HI,
        {"exact_length": True, "stream": False},
        '{"model":"m","prompt":"hi","stream":false}',
    ),
    "responses": (
        "responses",
        HI,
        EXACT,
        '{"model":"m","input":"hi","max_output_tokens":7,"ignore_eos":true,"temperature":0.5,"stream":true}',
    ),
    "responses, messages": (
        "responses",
        TALK,
        {"sampling": {"logprobs": 2}},
        '{"model":"m","input":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"input_text",'
        '"text":"look"}]},{"role":"assistant","content":"ok"}],"top_logprobs":2,'
        '"include":["message.output_text.logprobs"],"stream":true}',
    ),
    "responses, image": (
        "responses",
        LINK,
        {},
        '{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x/y.png"}]}],'
        '"stream":true}',
    ),
    "messages": (
        "messages",
        TALK,
        {"sampling": PLAIN, "output_len": 7},
        '{"model":"m","system":"be kind","messages":[{"role":"user","content":[{"type":"text","text":"look"}]},'
        '{"role":"assistant","content":"ok"}],"max_tokens":7,"top_p":0.9,"top_k":5,"stop_sequences":["."],'
        '"stream":true}',
    ),
    "messages, no length": (
        "messages",
        HI,
        {"stream": False, "temperature": 0.0},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":1024,"temperature":0.0,"stream":false}',
    ),
    "messages, image": (
        "messages",
        PICTURE,
        {},
        '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":'
        '{"type":"base64","media_type":"image/png","data":"AAAA"}}]}],"max_tokens":1024,"stream":true}',
    ),
    "messages, link": (
        "messages",
        LINK,
        {},
        '{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"url",'
        '"url":"http://x/y.png"}}]}],"max_tokens":1024,"stream":true}',
    ),
    "embeddings": ("embeddings", PAIRS, {}, '{"model":"m","input":["a","b c"]}'),
    "embeddings, ids": ("embeddings", IDS, {"stream": True}, '{"model":"m","input":[5,6]}'),
    "rerank": (
        "rerank",
        PAIRS,
        {"extra_body": {"top_n": 1}},
        '{"model":"m","query":"q","documents":["a","b c"],"top_n":1}',
    ),
    "rerank, TEI's": (
        "tei-rerank",
        PAIRS,
        {"extra_body": {"raw_scores": True}},
        '{"query":"q","texts":["a","b c"],"raw_scores":true}',
    ),
    "generate": (
        "generate",
        HI,
        {**EXACT, "sampling": {"seed": 3, "logprobs": 2}, "extra_body": {"sampling_params": {"skip": 1}}},
        '{"text":"hi","sampling_params":{"max_new_tokens":7,"ignore_eos":true,"temperature":0.5,"sampling_seed":3,'
        '"min_new_tokens":7,"skip":1},"stream":true,"return_logprob":true,"top_logprobs_num":2}',
    ),
    "generate, ids": (
        "generate",
        IDS,
        {"stream": False},
        '{"input_ids":[5,6],"sampling_params":{},"stream":false}',
    ),
    "tgi": (
        "tgi",
        TALK,
        {**EXACT, "sampling": PLAIN},
        '{"inputs":"be kind\\nlook\\nok","parameters":{"max_new_tokens":7,"ignore_eos_token":true,"do_sample":true,'
        '"temperature":0.5,"top_p":0.9,"top_k":5,"stop":["."],"details":true}}',
    ),
    "tgi, greedy": (
        "tgi",
        HI,
        {"temperature": 0.0},
        '{"inputs":"hi","parameters":{"do_sample":false,"details":true}}',
    ),
    "ollama": (
        "ollama",
        PICTURE,
        {"output_len": 7, "temperature": 0.5, "sampling": {**PLAIN, "repetition_penalty": 1.1, "logprobs": 2}},
        '{"model":"m","messages":[{"role":"user","content":"see","images":["AAAA"]}],"stream":true,"logprobs":true,'
        '"top_logprobs":2,"options":{"num_predict":7,"temperature":0.5,"top_p":0.9,"top_k":5,"repeat_penalty":1.1,'
        '"stop":["."]}}',
    ),
    "ollama, nothing said": (
        "ollama",
        HI,
        {"stream": False},
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}',
    ),
    "template": ("template", HI, {"extra_body": {"x": 1}}, '{"text_input":"hi","model":"m","x":1}'),
    "a row's own fields win": (
        "completions",
        Prompt(id="p", text="hi", output_len=2, body={"max_tokens": 3, "top_p": 1}),
        {"stream": False, "output_len": 9, "sampling": {"top_p": 0.5}},
        '{"model":"m","prompt":"hi","max_tokens":3,"top_p":1,"stream":false}',
    ),
}


@pytest.mark.parametrize(("name", "prompt", "given", "body"), BODIES.values(), ids=BODIES)
def test_bodies(name: str, prompt: Prompt, given: dict[str, Any], body: str) -> None:
    made = MAKERS[name]().build_body(prompt, RequestSettings(**{"model": "m", **given}))
    assert msgspec.json.encode(made).decode() == body


REFUSED: dict[str, tuple[str, Prompt, dict[str, Any], str]] = {
    "ids to chat": ("chat", IDS, {}, "--api chat takes no token ids (p): say --api completions"),
    "ids to messages": ("messages", IDS, {}, "--api messages takes no token ids"),
    "ids to tgi": ("tgi", IDS, {}, "--api tgi takes no token ids"),
    "ids to rerank": ("rerank", IDS, {}, "--api rerank takes no token ids"),
    "unknown sampling": ("chat", HI, {"sampling": {"beam": 2}}, "--api chat knows no beam"),
    "sampling of others": ("messages", HI, {"sampling": {"seed": 2}}, "--api messages knows no seed"),
    "sampling of vectors": ("embeddings", HI, {"sampling": {"seed": 2}}, "--api embeddings knows no seed"),
    "match": ("messages", HI, {"exact_length": True}, "leave out --match-output-length"),
    "ignore eos": ("ollama", HI, {"ignore_eos": True}, "leave out --ignore-eos"),
    "no documents": ("rerank", HI, {}, "--api rerank needs documents, and p has none"),
    "a link": ("ollama", LINK, {}, "--api ollama takes images as data, not as links"),
    "temperature": ("template", HI, {"temperature": 1.0}, "--api template sends the template and no --temperature"),
}


@pytest.mark.parametrize(("name", "prompt", "given", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_a_protocol_cannot_say_is_refused(name: str, prompt: Prompt, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        MAKERS[name]().build_body(prompt, RequestSettings(**{"model": "m", **given}))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
