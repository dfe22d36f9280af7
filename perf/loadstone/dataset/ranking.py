"""Makes requests to rank documents of generated texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from loadstone.errors import DataError
from loadstone.records import Prompt

# Documents of a request where --documents is not given.
DOCUMENTS = 10


def with_documents(prompts: Sequence[Prompt], documents: int) -> list[Prompt]:
    """Return a prompt for each group of texts: the first is the query, the others its documents. Raises DataError."""
    groups = [prompts[start : start + 1 + documents] for start in range(0, len(prompts), 1 + documents)]
    made = []
    for number, group in enumerate(groups, 1):
        texts = [prompt.text for prompt in group]
        if any(text is None for text in texts):
            raise DataError("--api rerank ranks texts, not conversations: leave out --turns", field="turns")
        if len(group) < 1 + documents:
            break
        query, *rest = group
        ranked = [prompt.text or "" for prompt in rest]
        made.append(replace(query, id=f"rerank-{number:04}", documents=ranked, output_len=None, input_len=None))
    return made
