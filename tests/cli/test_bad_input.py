"""What no file and no argument should hold: one sentence and exit status 2, from every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.clean_folder
URL = ["--url", "http://127.0.0.1:1"]
DEEP = b'{"a":' * 100_000
ARGUMENTS: list[list[str | bytes]] = [
    ["run", *URL, "--extra-body", b'{"a": "\xff"}'],
    ["run", "--url", b"http://127.0.0.1:1/\xff"],
    ["run", *URL, "--url", b"http://\xff"],
    ["run", *URL, "--scrape", b"http://h/\xff"],
    ["run", *URL, "--seed", "9" * 400],
    ["run", *URL, "-n", "9" * 5000],
    ["run", *URL, "--dataset", "deep.json"],
    ["run", *URL, "--config", "deep.json"],
    ["report", "run"],
    ["report", "big.jsonl"],
    ["check", "run"],
    ["compare", "run", "big"],
    ["score", "deep.json"],
    ["serve", "--answers", "deep.json"],
    ["plan", b"\xff"],
    ["list", b"\xff"],
]


def test_bad_input_is_one_sentence() -> None:
    Path("deep.json").write_bytes(DEEP)
    for name, content in (("run", DEEP), ("big", b'{"format": 1, "expected": %b}' % (b"9" * 5000))):
        Path(name).mkdir()
        (Path(name) / "run.json").write_bytes(content)
        (Path(name) / "records.jsonl").touch()
    usage = b'{"prompt": %b, "completion": 1}' % (b"9" * 400)
    Path("big.jsonl").write_bytes(b'{"index": 0, "prompt": "p", "scheduled": 0, "end": 1, "usage": %b}\n' % usage)
    # In one process of its own: arguments that are no UTF-8 come from outside.
    program = (
        "import os, sys\nfrom loadstone.cli.main import main\n"
        "for line in sys.stdin.buffer.read().split(b'\\n\\0'):\n"
        "    print('status', main([os.fsdecode(word) for word in line.split(b'\\0')]), file=sys.stderr)\n"
    )
    lines = [b"\0".join(word if isinstance(word, bytes) else word.encode() for word in words) for words in ARGUMENTS]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=b"\n\0".join(lines),
        capture_output=True,
        env={"PYTHONPATH": str(ROOT / "perf"), "PATH": ""},
        timeout=60,
        check=False,
    )
    told = done.stderr.decode("utf-8", "replace").splitlines()
    assert len(told) == 2 * len(ARGUMENTS), done.stderr[-3000:]
    for words, sentence, status in zip(ARGUMENTS, told[::2], told[1::2], strict=True):
        assert status == "status 2", (words[:3], sentence)
        assert sentence.startswith("loadstone: "), words[:3]
