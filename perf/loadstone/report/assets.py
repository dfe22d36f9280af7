"""What a web page is made of besides its content: our style and script, and the charting library, ready to be inlined.

The library is plotly.js, which is well kept and comes with the distribution `plotly`; of that one file is read, and
nothing imported. It is inlined compressed (4.8 MB are 1.9 as text) and unpacked by the browser.
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
# Of compression: 9 takes longer, for 3 KB.
LEVEL = 6
_NOTICE = re.compile(r"/\*\*(.*?)\*/", re.DOTALL)


class Library(Struct, frozen=True):
    """`notice`: its name, version, copyright and licence, as its file opens; `packed`: gzip in base64."""

    notice: str
    packed: str


def own(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files("loadstone.report").joinpath(name).read_text("utf-8")


@cache
def library() -> Library:
    """Raises UsageError where the distribution is not whole."""
    try:
        code = _bundle().read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read the charting library ({exc}); pip install --force-reinstall plotly") from exc
    found = _NOTICE.match(code[:2000].decode("utf-8", "replace"))
    lines = [line.strip(" *\r") for line in found[1].splitlines()] if found else ["plotly.js, MIT licence"]
    packed = base64.b64encode(gzip.compress(code, LEVEL, mtime=0)).decode()
    return Library(". ".join(line.rstrip(".") for line in lines if line), packed)


def _bundle() -> Path:
    """Where the import system would find the package, which takes seconds to import and is not."""
    spec = util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("there is no plotly")
    return Path(spec.submodule_search_locations[0]) / BUNDLE
