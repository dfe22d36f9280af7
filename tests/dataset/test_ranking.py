"""Generated requests to rank documents, in the forms of both protocols."""

from __future__ import annotations

import json

import pytest

from loadstone.dataset.ranking import with_documents
from loadstone.errors import DataError
from loadstone.records import Prompt
from support.servers import Asked, Capture, loadstone, scripted

pytestmark = pytest.mark.clean_folder


def test_each_group_of_texts_is_a_request() -> None:
    rows = [Prompt(id=str(number), text=f"t{number}", output_len=5) for number in range(7)]
    made = with_documents(rows, 2)
    assert [(prompt.text, prompt.documents, prompt.output_len) for prompt in made] == [
        ("t0", ["t1", "t2"], None),
        ("t3", ["t4", "t5"], None),
    ]
    assert len({prompt.id for prompt in made}) == 2
    with pytest.raises(DataError):
        with_documents([Prompt(id="a", messages=[])], 1)


@pytest.mark.parametrize(("api", "path", "name", "answer"), [
    ("rerank", "/v1/rerank", "documents", {"results": [{"index": 0, "relevance_score": 0.5}]}),
    ("tei-rerank", "/rerank", "texts", [{"index": 0, "score": 0.5}]),
])  # fmt: skip
def test_documents_are_made_up(api: str, path: str, name: str, answer: object, capsys: Capture) -> None:
    bodies = []

    def script(asked: Asked) -> tuple[int, str]:
        if asked.method == "GET":
            return 200, '{"data": [{"id": "m"}]}'
        assert asked.path == path
        bodies.append(asked.body)
        return 200, json.dumps(answer)

    with scripted(script) as url:
        flags = ("--dataset", "random", "--input-len", 12, "--documents", 4, "-n", 6, "--no-scrape", "--no-html")
        done = loadstone(capsys, "run", "--url", url, "--api", api, "-o", "run", "--quiet", *flags)
    assert done.status == 0, done.err
    assert len(bodies) == 6
    assert {len(body[name]) for body in bodies} == {4}
    assert all(len(text.split()) == 12 for body in bodies for text in (body["query"], *body[name]))
    assert ("model" in bodies[0]) == (api == "rerank")
