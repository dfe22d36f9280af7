"""The template protocol: filling the template, reading files, and error messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadstone.apis.template import TemplateAPI
from loadstone.errors import UsageError
from loadstone.records import Prompt
from support import servers as servers
from support.protocols import IDS, TALK, TEXT_OUTPUT, body, fill, read
from support.streams import event

HARD = Prompt(id="p", text='a "quoted"\n%m %p \\ line')


def test_a_template_is_filled_in() -> None:
    assert body('{"a": "<%p>", "b": [{"c": "%m/%p"}], "n": 3}', HARD) == {
        "a": f"<{HARD.text}>",
        "b": [{"c": f"m/{HARD.text}"}],
        "n": 3,
    }
    assert body('{"messages": [{"role": "user", "content": "%p"}]}', TALK) == {
        "messages": [{"role": "user", "content": "be kind\nlook\nok"}]
    }
    assert body('{"messages": "%p"}', TALK) == {"messages": TALK.messages}
    assert body('{"messages": "%p"}') == {"messages": [{"role": "user", "content": "hi"}]}
    assert body('{"prompt": "%p"}', IDS) == {"prompt": [5, 6]}


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text('{"q": "%p"}', "utf-8")
    assert body(f"@{path}") == {"q": "hi"}
    path.write_text('{"q":\n oops}', "utf-8")
    with pytest.raises(UsageError, match=re.escape(f"{path}, line 2: a template is JSON")):
        body(f"@{path}")


BAD_TEMPLATES = {
    "@/no/such/file": "cannot read the template /no/such/file",
    "{": "--body-template, line 1: a template is JSON",
    '["%p"]': "--body-template: a template is a JSON object, not list",
    '{"a": "%m"}': "--body-template has no %p",
}


@pytest.mark.parametrize(("template", "sentence"), BAD_TEMPLATES.items())
def test_a_wrong_template_is_one_sentence(template: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        TemplateAPI(template, "x")
    assert "\n" not in str(caught.value)


def test_a_template_needs_its_paths() -> None:
    with pytest.raises(UsageError, match="needs --text-path"):
        TemplateAPI(TEXT_OUTPUT, None)
    with pytest.raises(UsageError, match=r"token ids \(p\) only fit"):
        body('{"a": "x %p"}', IDS)
    failure = read(fill(usage_path="meta.usage"), event({"text_output": "a", "n": 1}))[1].failure
    assert failure is not None
    assert failure.message == "nothing at meta.usage in the answer, which has text_output, n"
    failure = read(fill(usage_path="n"), event({"text_output": "a", "n": 1}))[1].failure
    assert failure is not None
    assert failure.message == "n leads to 1, which is no object with prompt_tokens and completion_tokens"
