"""The files that a web page contains: our style and script, and the charting library.

The library is plotly.js from the distribution `plotly`, of which one file is read and nothing imported. It is inlined
compressed (1.9 MB as text instead of 4.8) and unpacked by the browser.
"""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache
from importlib import resources, util
from pathlib import Path

from msgspec import Struct

from loadstone.errors import UsageError

BUNDLE = "package_data/plotly.min.js"
# Level of compression: 9 takes longer and saves 3 KB.
LEVEL = 6
_NOTICE = re.compile(r"/\*\*(.*?)\*/", re.DOTALL)


class Library(Struct, frozen=True):
    """The charting library.

    notice: name, version, copyright and licence, from the head of its file.
    license: the text of its licence, which every copy has to carry.
    packed: gzip in base64.
    """

    notice: str
    license: str
    packed: str


def own(name: str) -> str:
    """Read a file of this folder."""
    return resources.files("loadstone.report").joinpath(name).read_text("utf-8")


@cache
def library() -> Library:
    """Load the charting library. Raises UsageError if the distribution is incomplete."""
    try:
        code = _bundle().read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read the charting library ({exc}); pip install --force-reinstall plotly") from exc
    found = _NOTICE.match(code[:2000].decode("utf-8", "replace"))
    lines = [line.strip(" *\r") for line in found[1].splitlines()] if found else ["plotly.js, MIT licence"]
    packed = base64.b64encode(gzip.compress(code, LEVEL, mtime=0)).decode()
    return Library(". ".join(line.rstrip(".") for line in lines if line), own("plotly_license.txt").strip(), packed)


def _bundle() -> Path:
    """Find the file without importing the package, which would take seconds."""
    spec = util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("there is no plotly")
    return Path(spec.submodule_search_locations[0]) / BUNDLE
