"""Settings of request bodies: sampling parameters, streaming, and fields that are sent as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from loadstone.config.flags import Flag
from loadstone.config.redact import hide


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What each request asks for besides its prompt."""

    GROUP: ClassVar = "requests"

    stream: Annotated[bool, Flag("request unstreamed responses")] = True
    usage: Annotated[
        Literal["final", "each", "off"],
        Flag("token counts to request: at the end of a stream (default), with each event, or none"),
    ] = "final"
    max_tokens_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None,
        Flag(
            "field of a chat request that holds the maximum number of output tokens (default: max_completion_tokens for"
            " OpenAI and Azure or where a server asks for it, else max_tokens)"
        ),
    ] = None
    temperature: Annotated[float | None, Flag("sampling temperature (default: the server's)", metavar="T")] = None
    top_p: Annotated[float | None, Flag("sampling parameter top-p (default: the server's)")] = None
    top_k: Annotated[int | None, Flag("sampling parameter top-k (default: the server's)")] = None
    min_p: Annotated[float | None, Flag("sampling parameter min-p (default: the server's)")] = None
    presence_penalty: Annotated[float | None, Flag("sampling parameter presence-penalty (default: the server's)")] = (
        None
    )
    frequency_penalty: Annotated[float | None, Flag("sampling parameter frequency-penalty (default: the server's)")] = (
        None
    )
    repetition_penalty: Annotated[
        float | None, Flag("sampling parameter repetition-penalty (default: the server's)")
    ] = None
    min_tokens: Annotated[int | None, Flag("sampling parameter min-tokens (default: the server's)", least=0)] = None
    sampling_seed: Annotated[int | None, Flag("sampling parameter seed (default: the server's)")] = None
    stop: Annotated[list[str] | None, Flag("texts at which generation stops", metavar="TEXT", many=True, join=list)] = (
        None
    )
    chat_template_kwargs: Annotated[dict[str, Any] | None, Flag("arguments for the chat template", hide=hide)] = None
    extra_body: Annotated[dict[str, Any], Flag("fields to add to every request body; null removes one", hide=hide)] = (
        field(default_factory=dict)
    )
    tokenizer: Annotated[
        str | None,
        Flag(
            "tokenizer for exact token lengths, and for token counts where the server reports no usage", metavar="PATH"
        ),
    ] = None
