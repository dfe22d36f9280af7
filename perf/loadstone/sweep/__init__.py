"""Run one load test at many points: settings in a grid, or loads that a search chooses.

`plan.py` turns flags into a `SweepPlan`, `run.py` runs it (`SweepRun`), `strategies.py` chooses the next load, and
`page.py` renders the report. points.py has the data that sweep.json holds; folder.py reads it back.

Imports from every room left of it (results, metrics, checks, stats, report); compare, capacity and the command line
import this room.
"""

from __future__ import annotations

# Views of a sweep that are a new folder, by name: `module:function`, called with the sweep and the new folder.
FOLDERS: dict[str, str] = {"vllm-sweep": "loadstone.sweep.vllm_export:write"}
