"""sweep."""

from __future__ import annotations

# Views of a sweep that are a new folder, by name: `module:function`, called with the sweep and the new folder.
FOLDERS: dict[str, str] = {"vllm-sweep": "loadstone.sweep.vllm_export:write"}
