"""What to type when a server refuses a parameter, by the words of real servers."""

from __future__ import annotations

import pytest

from loadstone.config.refusals import advise, refused_fields, wants_newer_limit

WORDS = [
    (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "--max-tokens-field max_completion_tokens",
    ),
    ("body.max_completion_tokens: Extra inputs are not permitted", "--max-tokens-field max_tokens"),
    (
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        "--temperature",
    ),
    ("Unsupported parameter: 'stop' is not supported with this model.", "--stop"),
    ("Unrecognized request argument supplied: ignore_eos", "--ignore-eos"),
    ("Unknown parameter: 'min_tokens'.", "--min-tokens"),
    ("body.seed: Extra inputs are not permitted", "--sampling-seed"),
    ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "--sampling-seed"),
    ("property 'ignore_eos' is unsupported", "--ignore-eos"),
    ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "--temperature"),
    ("body.n: Input should be less than or equal to 1", None),
    ("'n' must be 1", "--n-choices"),
    ("max_tokens: 300000 > 8192, which is the maximum allowed number of output tokens", "--output-len"),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", "--output-len"),
    ("Unrecognized request argument supplied: stream_options", "--usage off"),
    ("'top_logprobs' is not supported by this model", "--logprobs"),
    ("This model's maximum context length is 2048 tokens. However, you requested 3000 tokens", "--max-total-len"),
    ("prompt is too long: 210000 tokens > 200000 maximum", "--max-total-len"),
    ("no such key", None),
    ("The model `gpt-9` does not exist", None),
    ("user not allowed to use this model", None),
    ("", None),
]


@pytest.mark.parametrize(("words", "flag"), WORDS)
def test_a_refusal_says_what_to_type(words: str, flag: str | None) -> None:
    advice = advise(words)
    if flag is not None:
        assert advice is not None
        assert flag in advice
    else:
        assert advice is None or "--n-choices" in advice


def test_a_field_can_be_removed_by_what_the_advice_says() -> None:
    assert "--extra-body '{\"seed\": null}'" in (advise("Unknown parameter: 'seed'.") or "")


def test_the_first_field_that_is_named_comes_first() -> None:
    assert refused_fields("'top_p' and 'temperature' cannot both be set") == ["top_p", "temperature"]
    assert refused_fields("'top_p' is nice") == []


def test_only_a_server_that_asks_for_the_newer_name_gets_it() -> None:
    assert wants_newer_limit("max_tokens is deprecated, use max_completion_tokens")
    assert not wants_newer_limit("max_completion_tokens: Extra inputs are not permitted")
    assert not wants_newer_limit("max_tokens is too large")
