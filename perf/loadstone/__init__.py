"""Loadstone: a load tester for LLM APIs whose numbers are true."""

__version__ = "0.1.0"
