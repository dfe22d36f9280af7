"""Settings of the prompts: where they are from, how long they are, and conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from loadstone.config import kinds
from loadstone.config.flags import Flag

_TEMPLATE_OR_IDS = "give the template's text as it is, or token ids"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The prompts of a run."""

    GROUP: ClassVar = "prompts (docs/workloads.md; LEN is a number or a distribution such as normal(512,128,max=2048))"

    dataset: Annotated[
        str,
        Flag(
            "source of prompts: a file (- is stdin), FORMAT:FILE, hf:NAME, a bundled dataset, or a generator"
            " (default: chat-small)"
        ),
    ] = "chat-small"
    prompt_field: Annotated[
        str | None, Flag("field that holds the prompt (default: prompt, question, text, input)", metavar="NAME")
    ] = None
    shuffle: Annotated[bool, Flag("shuffle the prompts by --seed (default: file order)")] = False
    skip: Annotated[int, Flag("skip the first N prompts, for example used ones (default: 0)", least=0)] = 0
    # Lengths: exact only with a tokenizer.
    input_len: Annotated[
        int | str | None,
        Flag(
            "tokens of each prompt: generated prompts are made this long (random: 1024), texts are cut or repeated",
            kinds.LENGTH,
            least=1,
        ),
    ] = None
    output_len: Annotated[int | str | None, Flag("max_tokens of each request (random: 128)", kinds.LENGTH, least=1)] = (
        None
    )
    range_ratio: Annotated[
        float, Flag("vary lengths from L(1-R) to L(1+R) (default: 0)", metavar="R", least=0, most=1)
    ] = 0.0
    documents: Annotated[
        int | None,
        Flag("documents to rank in each generated request of --api rerank, each of --input-len (default: 10)", least=1),
    ] = None
    # Prefixes that generated prompts share, to fill a prefix cache.
    prefix_len: Annotated[
        int | str | None, Flag("tokens of the prefix that generated prompts share", kinds.LENGTH, least=0)
    ] = None
    prefix_count: Annotated[int | None, Flag("number of different prefixes", least=1)] = None
    system_len: Annotated[
        int | str | None,
        Flag("tokens of the system prompt that all generated prompts begin with", kinds.LENGTH, least=0),
    ] = None
    # Conversations, recorded or generated.
    turns: Annotated[
        int | str | None,
        Flag("turns of a generated conversation (default: 1)", kinds.LENGTH, metavar="N", least=1),
    ] = None
    think_time: Annotated[
        float | str | None,
        Flag("pause between turns: a time such as 2s, or a distribution of seconds (default: 0)", kinds.PAUSE, least=0),
    ] = None
    history: Annotated[
        Literal["first", "recorded", "live"] | None,
        Flag(
            "turns of a recorded conversation to send: the first (default), the last with its recorded history,"
            " or all of them with live answers"
        ),
    ] = None
    send_reasoning: Annotated[
        str | None,
        Flag(
            "send the reasoning of live answers back in the history, in the field reasoning_content or FIELD",
            metavar="FIELD",
            bare="reasoning_content",
        ),
    ] = None
    scale_lengths: Annotated[float, Flag("factor for all lengths of a trace (default: 1)", above=0)] = 1.0
    # Limits of length: prompts beyond them are skipped.
    min_input_len: Annotated[int | None, Flag("skip prompts with fewer tokens than N", least=1)] = None
    max_input_len: Annotated[int | None, Flag("skip prompts with more tokens than N", least=1)] = None
    max_total_len: Annotated[
        int | None, Flag("skip prompts that have more tokens than N together with their answer", least=1)
    ] = None


@dataclass(frozen=True, kw_only=True)
class Requests:
    """How a prompt becomes a request."""

    GROUP: ClassVar = "requests"

    ignore_eos: Annotated[bool, Flag("generate --output-len tokens even if the model would stop earlier")] = False
    match_output_length: Annotated[bool, Flag("generate exactly as many tokens as recorded or given")] = False
    logprobs: Annotated[int | None, Flag("sampling parameter logprobs (default: the server's)", least=0)] = None
    choices: Annotated[
        int | None,
        # Its flag is not --choices, and not --n, which would read as a number of requests.
        Flag("sampling parameter n-choices (default: the server's)", name="n-choices", least=1),
    ] = None
    apply_chat_template: Annotated[
        bool,
        Flag(
            "apply the chat template of --tokenizer to the prompts",
            needs=(("tokenizer",), "the chat template is the tokenizer's"),
        ),
    ] = False
    tokenize_prompt: Annotated[
        bool,
        Flag(
            "send token ids from --tokenizer instead of text",
            needs=(("tokenizer",), "with it the prompts become token ids"),
            excludes=(("apply_chat_template", _TEMPLATE_OR_IDS),),
        ),
    ] = False
