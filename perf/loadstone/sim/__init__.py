"""A simulated OpenAI-compatible server that answers at given times, keeps the true ones, and misbehaves on demand.

It exists to hold a load tester against the truth. With `engine="vllm"` the times are those of a model of vLLM's engine.
"""

from __future__ import annotations

from loadstone.sim.faults import FAULTS
from loadstone.sim.server import Server, run, serve
from loadstone.sim.settings import Settings

__all__ = ["FAULTS", "Server", "Settings", "run", "serve"]
