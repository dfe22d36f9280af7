"""The notice of settings that a run does not use.

Settings that can have no effect because of other settings are errors (schema.py). Others depend on the dataset, the API
or the server: each of those declares what it uses, and one notice before the run names the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from loadstone.config.schema import Config, flag


class UnusedNotice(str):
    """The notice that settings are not used, on one line. A caller may join several, or drop them, by the type.

    reasons: why each setting is not used, by its name in Config.
    """

    reasons: Mapping[str, str]

    def __new__(cls, reasons: Mapping[str, str]) -> UnusedNotice:
        """Compose the line from the reasons; settings with the same reason are named together."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            # A switch that turns something off is called --no-NAME.
            prefix = "--no-" if getattr(Config(), name) is True else "--"
            by_reason.setdefault(reason, []).append(prefix + flag(name))
        parts = []
        for reason, flags in by_reason.items():
            names = " and ".join(filter(None, (", ".join(flags[:-1]), flags[-1])))
            parts.append(f"{names} {'is' if len(flags) == 1 else 'are'} not used: {reason}")
        notice = super().__new__(cls, "; ".join(parts))
        notice.reasons = reasons
        return notice
