"""What to type when a server refuses a parameter of a request, by the server's own words. Pure.

Wordings: OpenAI and Azure ("Unsupported parameter", "Unsupported value", "Unrecognized request argument"), vLLM and
FastAPI ("Extra inputs are not permitted", "maximum context length"), Mistral, Anthropic ("cannot both be specified"),
Groq ("property ... is unsupported"), Gemini ("Unknown name"), DeepSeek ("the valid range of").
"""

from __future__ import annotations

import re

# Words by which servers refuse a parameter.
_REFUSED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|not permitted|not allowed|invalid|unexpected|deprecated"
    r"|extra (?:inputs|fields)|cannot (?:both )?be|can't be|valid range|too (?:large|small|high|low)|must be"
    r"|only the default|exceeds?|greater than|less than|disallowed|forbidden|\d > \d|maximum allowed",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"maximum context|context (?:length|window|size)|prompt is too long|too many (?:input )?tokens|max_model_len"
    r"|longer than the (?:model|maximum)|input length .* exceeds|maximum (?:input|prompt) length",
    re.IGNORECASE,
)
_NEWER_LIMIT = re.compile(
    r"max_tokens\b.*\bmax_completion_tokens|'max_completion_tokens' instead", re.IGNORECASE | re.DOTALL
)
_OLDER_LIMIT = re.compile(
    r"(?:unsupported|unknown|unrecogni[sz]ed|extra|not permitted|unexpected)[^.]*max_completion_tokens"
    r"|max_completion_tokens\W+(?:[^.]*)(?:unsupported|not permitted|unknown|unrecogni[sz]ed|extra inputs)",
    re.IGNORECASE,
)
# The flag that sets each field, or what to do instead of removing it.
_FLAGS = {
    "max_tokens": "--output-len",
    "max_completion_tokens": "--output-len",
    "max_output_tokens": "--output-len",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "min_p": "--min-p",
    "presence_penalty": "--presence-penalty",
    "frequency_penalty": "--frequency-penalty",
    "repetition_penalty": "--repetition-penalty",
    "min_tokens": "--min-tokens or --match-output-length",
    "ignore_eos": "--ignore-eos or --match-output-length",
    "stop": "--stop",
    "seed": "--sampling-seed",
    "n": "--n-choices",
    "logprobs": "--logprobs",
    "top_logprobs": "--logprobs",
    "chat_template_kwargs": "--chat-template-kwargs",
}
_OTHERS = ("tools", "tool_choice", "response_format", "reasoning_effort", "stream", "user", "logit_bias", "echo")


def wants_newer_limit(words: str) -> bool:
    """Return True if a server refuses `max_tokens` and asks for `max_completion_tokens`."""
    return bool(_NEWER_LIMIT.search(words)) and not wants_older_limit(words)


def wants_older_limit(words: str) -> bool:
    """Return True if a server does not know `max_completion_tokens`."""
    return bool(_OLDER_LIMIT.search(words)) and "instead" not in words.lower()


def refused_fields(words: str) -> list[str]:
    """Return the fields of a request that a server's message refuses, in the order in which it names them."""
    if not _REFUSED.search(words):
        return []
    names = (*_FLAGS, "stream_options", *_OTHERS)
    places = {}
    for name in names:
        # Short names are words of English: they have to be quoted, or be the last step of a path such as body.n.
        plain = (len(name) > 4 and "_" in name) or name in ("temperature", "ignore_eos")
        pattern = rf"\b{name}\b" if plain else rf"[`'\"]{name}[`'\"]|(?:^|[\s.:])(?:body\.)?{name}(?=:)"
        if match := re.search(pattern, words):
            places[name] = match.start()
    return sorted(places, key=places.__getitem__)


def advise(words: str) -> str | None:
    """Return what to type when a server refuses a request with these words; None if they name no parameter."""
    if _CONTEXT.search(words):
        return "prompt and answer exceed the model's context: give a lower --output-len, or --max-total-len"
    if wants_newer_limit(words):
        return "give --max-tokens-field max_completion_tokens"
    if wants_older_limit(words):
        return "give --max-tokens-field max_tokens"
    fields = refused_fields(words)
    if not fields:
        return None
    name = fields[0]
    if name == "stream_options":
        return "give --usage off, and --tokenizer NAME to count tokens"
    flag = f"leave out {_FLAGS[name]}, or " if name in _FLAGS else ""
    return f"the server refuses {name}: {flag}remove it with --extra-body '{{\"{name}\": null}}'"
