"""Where things are: the project, its tests, and shared data beside the checkout (tests skip where it is missing)."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
SHARED = ROOT.parent / "shared"
