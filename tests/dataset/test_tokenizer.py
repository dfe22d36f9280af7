"""The door to transformers: what is asked of the library, what becomes of its errors, and the real one."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadstone.dataset import Options, hub, read
from loadstone.dataset import tokenizer as tokens
from loadstone.errors import UsageError
from loadstone.transport.common import PROXIES
from support.servers import Capture, loadstone, read_json, scripted

MISSING = importlib.util.find_spec("transformers") is None
real = pytest.mark.skipif(MISSING, reason="transformers is not installed: pip install 'loadstone[tokenizer]'")


class Library:
    """Stands for transformers: remembers how it was called, and gives a tokenizer of letters or raises."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.failure = failure
        self.trusted: bool | None = None
        self.AutoTokenizer = SimpleNamespace(from_pretrained=self.from_pretrained)

    def from_pretrained(self, name: str, local_files_only: bool, trust_remote_code: bool) -> Any:
        self.calls.append((name, local_files_only))
        self.trusted = trust_remote_code
        if self.failure:
            raise self.failure
        return Letters()


class Letters:
    """Tokens a to d, `ab`, half a character, a special token and an added one; `c` is encoded as something else."""

    pieces = ("a", "b", "c", "d", "ab", "\ufffd", "<s>", "<tool>", "")
    all_special_ids = (6,)

    def encode(self, text: str, add_special_tokens: bool, verbose: bool) -> list[int]:
        assert not add_special_tokens
        assert not verbose
        whole = {"ab": [4], "c": [3]}
        return whole.get(text) or [self.pieces.index(letter) for letter in text]

    def __call__(self, texts: list[str], **options: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.encode(text, **options) for text in texts]}

    def decode(self, ids: list[int], skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        assert not skip_special_tokens
        assert not clean_up_tokenization_spaces
        return "".join(self.pieces[at] for at in ids)

    def get_vocab(self) -> dict[str, int]:
        return {piece: at for at, piece in enumerate(self.pieces)}

    def get_added_vocab(self) -> dict[str, int]:
        return {"<tool>": 7}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setitem(sys.modules, "transformers", found)
    monkeypatch.setattr(hub, "why_unreachable", lambda: None)
    monkeypatch.setattr(tokens, "_trusted", set())
    tokens.load.cache_clear()
    return found


def test_a_folder_is_read_without_the_network(library: Library, tmp_path: Path) -> None:
    tokens.load(str(tmp_path))
    assert library.calls == [(str(tmp_path), True)]


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen3-8B"])
def test_a_name_is_left_to_the_library(
    library: Library, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokens.load(name)
    assert library.calls == [(name, False)]


@pytest.mark.parametrize("name", ["", "./no", "/no/folder", "~/no", "a/b/c", "a\\b", "file.json"])
def test_a_path_that_is_no_folder_never_asks_the_library(
    library: Library, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.json").touch()
    with pytest.raises(UsageError) as caught:
        tokens.load(name)
    expected = f"no tokenizer at {name!r}: give a folder with a tokenizer.json, or a model's name on the Hub"
    assert str(caught.value) == expected
    assert library.calls == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError("not found:\n  try " + "x" * 300), "not found: try " + "x" * 185),
        (Exception("EOF while parsing a value"), "EOF while parsing a value"),
        (KeyError(), "KeyError"),
    ],
)
def test_what_the_library_raises_is_one_sentence(library: Library, failure: Exception, said: str) -> None:
    library.failure = failure
    with pytest.raises(UsageError) as caught:
        tokens.load("gpt2")
    assert str(caught.value) == f"cannot load the tokenizer gpt2: {said}"
    assert caught.value.__cause__ is failure


def test_code_of_a_tokenizer_runs_only_if_it_is_trusted(library: Library, tmp_path: Path) -> None:
    content = {"auto_map": {"AutoTokenizer": [None, "mine.MyTokenizer"]}, "tokenizer_class": "MyTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="--trust-remote-code"):
        tokens.load(str(tmp_path))
    assert library.calls == []
    tokens.trust(str(tmp_path))
    tokens.load(str(tmp_path))
    assert (library.calls, library.trusted) == ([(str(tmp_path), True)], True)
    tokens.load("gpt2")
    assert library.trusted is False  # never None, with which the library asks on the terminal


def test_a_tokenizer_is_loaded_once(library: Library, tmp_path: Path) -> None:
    assert tokens.load(str(tmp_path)) is tokens.load(str(tmp_path))
    assert len(library.calls) == 1


def test_without_the_hub_only_the_cache_is_asked(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "why_unreachable", lambda: "hub.test cannot be reached: refused")
    tokens.load("gpt2")
    assert library.calls == [("gpt2", True)]
    library.failure = OSError("not there")
    with pytest.raises(UsageError, match=r"hub\.test cannot be reached: refused") as caught:
        tokens.load("nosuch/tokenizer")
    assert "give a folder" in str(caught.value)


def test_whether_the_hub_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        hub._connect.cache_clear()
        assert "127.0.0.1 cannot be reached" in (hub.why_unreachable() or "")
        server.listen()
        hub._connect.cache_clear()
        assert hub.why_unreachable() is None
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.why_unreachable() == "HF_HUB_OFFLINE is set"
    hub._connect.cache_clear()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.load.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError) as caught:
        tokens.load("gpt2")
    assert str(caught.value) == tokens.INSTALL
    assert "pip install 'loadstone[tokenizer]'" in tokens.INSTALL


@pytest.mark.usefixtures("library")
def test_the_protocol() -> None:
    tokenizer = tokens.load("gpt2")
    assert tokenizer.encode("bad") == [1, 0, 3]
    assert tokenizer.decode([4, 3]) == "abd"
    assert tokenizer.count("") == 0
    assert tokenizer.count("bad") == 3


@pytest.mark.usefixtures("library")
def test_the_vocabulary_is_what_survives_decoding_and_encoding() -> None:
    assert tokens.load("gpt2").vocabulary() == [0, 1, 3, 4]


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a real tokenizer: bytes, a few merges, and a beginning-of-text token added to every text."""
    folder = tmp_path_factory.mktemp("tokenizer")
    alphabet = [chr(code) for code in range(33, 127)] + ["Ġ"]
    merges = [(first, second) for first in "Ġbcdfghklmnprstvw" for second in "aeiou"]
    pieces = [*alphabet, *(a + b for a, b in merges), "<|begin|>"]
    begin = len(pieces) - 1
    special = {"id": begin, "content": "<|begin|>", "special": True, "normalized": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {piece: at for at, piece in enumerate(pieces)}, "merges": merges}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [begin], "tokens": ["<|begin|>"]}},
    }
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "pre_tokenizer": level,
    }
    whole |= {"added_tokens": [special | flags], "post_processor": template, "decoder": level, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return str(folder)


@real
@pytest.mark.filterwarnings("default")
def test_the_real_library(byte_level: str) -> None:
    tokenizer = tokens.load(byte_level)
    assert tokenizer.decode(tokenizer.encode("to be or not")) == "to be or not"
    assert tokenizer.count("<|begin|>") == 1
    vocabulary = tokenizer.vocabulary()
    assert vocabulary == sorted(set(vocabulary))
    assert "<|begin|>" not in tokenizer.decode(vocabulary)
    prompts = read("random", Options(count=80, input_len=40, tokenizer=byte_level), print)
    ids = [tokenizer.encode(prompt.text or "") for prompt in prompts]
    assert {len(each) for each in ids} == {40}
    assert len({each[0] for each in ids}) == 80


@real
@pytest.mark.filterwarnings("default")
def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot load the tokenizer .+: "):
        tokens.load(str(tmp_path))


STREAM = 'data: {"choices":[{"delta":{"content":"ab"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.mark.clean_folder
@pytest.mark.usefixtures("library")
def test_the_tokenizer_counts_what_the_server_does_not(tmp_path: Path, capsys: Capture) -> None:
    Path("p.txt").write_text("abba\nbad\n")
    answer = (200, STREAM)
    with scripted(lambda asked: (200, '{"data":[{"id":"m"}]}') if asked.method == "GET" else answer) as url:
        flags = ("--dataset", "p.txt", "-n", 4, "-c", 1, "--tokenizer", str(tmp_path), "--no-scrape", "--no-html")
        done = loadstone(capsys, "run", "--url", url, "-o", "run", "--quiet", *flags)
    assert done.status == 0, done.err
    assert read_json(Path("run/input_tokens.json")) == {"p:1": 4, "p:2": 3}
    for summary in (read_json(Path("run/summary.json")), None):
        found = summary or json.loads(loadstone(capsys, "report", "run", "--as", "json").out)
        assert (found["sources"]["input"], found["metrics"]["input_tokens"]["mean"]) == ("tokenizer", 3.5)
