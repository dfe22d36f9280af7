"""A model that needs no server and no weights: `--model dummy` says again what it was told, `dummy:TEXT` always TEXT.

For trying a run or an evaluation without any model, and as the example of a class of one's own (docs/own-models.md).
"""

from __future__ import annotations

from typing import Any


class Dummy:
    """Answers a batch at once. A token is a word."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = str(config.get("model_id", "dummy"))
        self._text = self._name.partition(":")[2]

    def predict(self, prompts: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """An answer in OpenAI's form for each prompt."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: dict[str, Any]) -> dict[str, Any]:
        said = [str(message["content"]) for message in prompt.get("messages") or ()] or list(prompt.get("data") or ())
        text = self._text or (said[-1] if said else "")
        asked, told = sum(len(one.split()) for one in said), len(text.split())
        message = {"role": "assistant", "content": text}
        return {
            "object": "chat.completion",
            "model": self._name,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told},
        }
