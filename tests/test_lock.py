"""The lock of the development environment: it has what pyproject.toml needs for each Python and system, and no path."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.paths import ROOT

LOCK = ROOT / "requirements-dev.lock"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64"))


def pins() -> list[Requirement]:
    lines = LOCK.read_text("utf-8").splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]


def needed() -> list[Requirement]:
    """What the package, its extras in `dev` and `dev` itself ask for, and the build backend."""
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    found = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    pending = list(extras["dev"])
    for text in pending:
        one = Requirement(text)
        if one.name == PROJECT["project"]["name"]:
            pending += [other for extra in sorted(one.extras) for other in extras[extra]]
        else:
            found.append(text)
    return [Requirement(text) for text in found]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS, ids="-".join)
def test_each_requirement_is_locked_at_one_version_that_fits(python: str, system: tuple[str, str]) -> None:
    environment = {
        **{"python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython"},
        **{"platform_python_implementation": "CPython", "sys_platform": system[0], "platform_machine": system[1]},
        **{"platform_system": "Linux" if system[0] == "linux" else "Darwin", "os_name": "posix"},
    }

    def holds(marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(environment)

    locked: dict[str, Version] = {}
    for pin in pins():
        if holds(pin.marker):
            (version,) = pin.specifier
            assert canonicalize_name(pin.name) not in locked, f"{pin.name} twice"
            locked[canonicalize_name(pin.name)] = Version(version.version)
    for one in needed():
        if holds(one.marker):
            version_ = locked.get(canonicalize_name(one.name))
            assert version_ is not None, f"{one.name} is not in the lock: run make lock"
            assert version_ in one.specifier, f"{one} does not allow {version_}: run make lock"
    assert "torch" not in locked


def test_each_line_is_a_version_or_a_hash() -> None:
    """No index, no address and no path: who installs chooses where from, and the hashes say what."""
    pin = r"[a-z0-9][a-z0-9-]*==[a-z0-9.+]+( ; [a-z0-9_ .<>=!'()-]+)? \\"
    text = LOCK.read_text("utf-8")
    hashed = rf"({pin}\n( +--hash=sha256:[0-9a-f]{{64}}( \\)?\n)+)+"
    assert re.fullmatch(rf"(#[^/\n]*\n)+{hashed}", text, re.IGNORECASE)


def test_each_target_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*  ## \S", text, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    wanted = "demo test check golden bench lock test-latest test-oldest clean help"
    assert set(wanted.split(" ")) <= targets
    assert set(phony[1].split()) - targets == {"python"}, "the one that only looks for Python"
