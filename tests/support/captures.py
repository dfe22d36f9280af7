"""Captured streams of real servers, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.apis.openai import Chat, Completions
from support.paths import SHARED

CAPTURES = SHARED / "captures"


def parts(path: Path) -> tuple[bytes, Any, int, str]:
    """Body, API, status and content type of a captured reply."""
    meta_path = path.with_suffix(".meta.json")
    meta = json.loads(meta_path.read_text()) if meta_path.exists() else {"status": 200, "headers": {}}
    headers = {name.lower(): value for name, value in meta["headers"].items()}
    kind = headers.get("content-type", "text/event-stream").partition(";")[0]
    return path.read_bytes(), Completions if "completions" in path.name else Chat, meta["status"], kind


needs_captures = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="the captured streams of ../shared/captures are not here"
)
