"""Settings of the server that is tested, and of how the client speaks to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.config.parse import parse_models
from loadstone.config.redact import hide_header, hide_in_template, hide_in_url

# Name of the model that answers without computing.
DUMMY = "dummy"


def one_or_list(values: list[Any]) -> Any:
    """Return the only value of a list, or the list."""
    return values[0] if len(values) == 1 else values


def merge(mappings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one mapping of several; a later one wins."""
    return {name: value for mapping in mappings for name, value in mapping.items()}


def hide_urls(urls: Any) -> Any:
    """Return one URL or several without passwords and keys. What is no URL stays as it is."""
    if isinstance(urls, list):
        return [hide_in_url(url) for url in urls]
    return hide_in_url(urls) if isinstance(urls, str) else urls


def _hide_headers(headers: dict[str, str]) -> dict[str, str]:
    return {name: hide_header(name, value) for name, value in headers.items()}


@dataclass(frozen=True, kw_only=True)
class Server:
    """Which server, model and protocol, and who the client is."""

    GROUP: ClassVar = "server"

    url: Annotated[
        str | list[str] | None,
        Flag(
            "server to test: http://HOST:PORT, https://... or unix:/PATH; repeat for several servers"
            " (default: start a simulated server)",
            repeat=True,
            join=one_or_list,
            hide=hide_urls,
        ),
    ] = None
    balance: Annotated[
        Literal["round-robin", "sticky"],
        Flag("how to use several --url: round-robin by request (default), or sticky by conversation"),
    ] = "round-robin"
    model: Annotated[
        str | None,
        Flag(
            "model to request (default: the first that the server lists), a mix such as base=3,lora=1,"
            " or a local model instead of a server: FILE.py:CLASS or dummy"
        ),
    ] = None
    provider: Annotated[
        str | None,
        Flag(
            "provider that supplies --url, --api-key-env and --api where they are not given (docs/providers.md);"
            " or use --model NAME/MODEL",
            metavar="NAME",
        ),
    ] = None
    api: Annotated[
        str | None,
        Flag(
            "protocol: chat (default), completions, responses, messages, embeddings, rerank, tei-rerank, generate, tgi,"
            " ollama, template, or FILE.py:CLASS"
        ),
    ] = None
    batch_size: Annotated[int, Flag("prompts per call of a local model (default: 1)", least=1)] = 1
    path: Annotated[
        str | None,
        Flag(
            "path of the API below --url, where it is not the protocol's own (default: that of --api; a --url that"
            " ends in /chat/completions or the like is whole)",
            metavar="/PATH",
        ),
    ] = None
    # Servers that speak no known protocol.
    body_template: Annotated[
        str | None,
        Flag(
            "request body for --api template; %p is replaced by the prompt, %m by the model",
            metavar="JSON|@FILE",
            hide=hide_in_template,
        ),
    ] = None
    text_path: Annotated[
        str | None,
        Flag(
            "path of the text in a response, such as choices.0.delta.content",
            metavar="PATH",
            needs=(("body_template",), "both are for --api template"),
        ),
    ] = None
    usage_path: Annotated[
        str | None,
        Flag(
            "path of the token counts in a response, such as usage",
            metavar="PATH",
            needs=(("body_template",), "both are for --api template"),
        ),
    ] = None
    # How the client sends and takes its timestamps.
    transport: Annotated[
        Literal["wire", "aiohttp"],
        Flag("HTTP client: wire (default), or aiohttp, which goes through the proxy of HTTP_PROXY and HTTPS_PROXY"),
    ] = "wire"
    clock: Annotated[
        Literal["auto", "kernel", "user"],
        Flag("source of arrival timestamps: kernel, user (this process), or auto (default): kernel where available"),
    ] = "auto"
    # What identifies the client and the server to each other.
    header: Annotated[
        dict[str, str],
        Flag(
            "HTTP header to send; repeatable",
            kinds.HEADER,
            repeat=True,
            join=merge,
            vary=False,
            hide=_hide_headers,
        ),
    ] = field(default_factory=dict)
    request_id: Annotated[
        str | None,
        Flag(
            "send and record an X-Request-Id: PREFIX and a number (default prefix: generated for the run)",
            metavar="PREFIX",
            bare="",
            vary=False,
        ),
    ] = None
    session_header: Annotated[
        str | None,
        Flag(
            "header that names the conversation of a request, such as X-Session-ID, for routers that send it to the"
            " server with its cache",
            metavar="NAME",
        ),
    ] = None
    api_key_env: Annotated[
        str | None, Flag("environment variable that holds the API key (default: OPENAI_API_KEY)", metavar="NAME")
    ] = None
    insecure: Annotated[bool, Flag("do not verify TLS certificates")] = False
    ca_file: Annotated[
        str | None,
        Flag(
            "PEM file of a certificate authority to trust",
            metavar="FILE",
            excludes=(("insecure", "with that one no certificate is verified"),),
        ),
    ] = None
    client_cert: Annotated[
        str | None, Flag("PEM file of this client's certificate, for servers that ask for one", metavar="FILE")
    ] = None
    client_key: Annotated[
        str | None,
        Flag(
            "PEM file of the key of --client-cert, unless that file holds it (a key without password)",
            metavar="FILE",
            needs=(("client_cert",), "it is the key of that certificate"),
        ),
    ] = None

    @property
    def urls(self) -> list[str]:
        """Return the addresses of the servers."""
        return [self.url] if isinstance(self.url, str) else list(self.url or [])

    @property
    def own_model(self) -> bool:
        """Return True if the model is a user's own class (FILE.py:CLASS) or the dummy, so that no server is needed."""
        name = self.model or ""
        return self.url is None and (".py:" in name or name.partition(":")[0] == DUMMY)

    @property
    def models(self) -> list[tuple[str | None, float]]:
        """Return the models with their weights; None is the first that the server lists."""
        return [(self.model, 1.0)] if self.own_model else parse_models(self.model) if self.model else [(None, 1.0)]
