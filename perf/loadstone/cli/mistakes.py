"""Say in one sentence what is wrong with a command line that argparse refuses, and what to type instead.

Read only after a mistake: flags that the command does not have, values that are no choice, commands that do not exist.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence

from loadstone.config import foreign_flags
from loadstone.errors import ConfigError
from loadstone.report import OTHER_NAMES

# Length above which a sentence leaves out notes.
MAX_LENGTH = 200
Parsers = Mapping[str, argparse.ArgumentParser]


def explain(
    arguments: Sequence[str], parsers: Parsers, left_over: Sequence[str] = (), error: ConfigError | None = None
) -> ConfigError:
    """Return the error with the best sentence.

    arguments: the command line
    parsers: parser of each command
    left_over: arguments that argparse did not recognize
    error: what argparse refused
    """
    command = arguments[0] if arguments else ""
    if command.startswith("-"):
        owner = next((name for name, parser in parsers.items() if _known(parser, command)), "run")
        return ConfigError(f"the command comes first, as in `loadstone {owner} {command}`; see loadstone --help")
    if command and command not in parsers:
        return ConfigError(f"no command {command!r}{_near_command(command, parsers)}; see loadstone --help")
    if command:
        unknown, wrong_choice = _walk(parsers[command], arguments[1:])
        if unknown:
            return _unknown_flags(command, unknown, parsers)
        if wrong_choice:
            return ConfigError(f"{_wrong_choice(command, *wrong_choice)}; see loadstone {command} --help")
    if left_over:
        hint = _left_over_hint(left_over[0], parsers[command])
        return ConfigError(f"`{command}` takes no argument {left_over[0]!r}{hint}; see loadstone {command} --help")
    assert error is not None
    return error


def _near_command(command: str, parsers: Parsers) -> str:
    other = foreign_flags.COMMANDS.get(command.lower())
    if other:
        return f" (use {other})"
    near = difflib.get_close_matches(command.lower(), parsers, 1)
    return f" (did you mean {near[0]}?)" if near else f" (use {', '.join(parsers)})"


def _walk(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[dict[str, str | None], tuple[argparse.Action, str] | None]:
    """Return the flags that the parser does not know, and the first value that is none of a flag's choices.

    Each unknown flag comes with the flag that it may be a value of, None if there is none.
    """
    unknown: dict[str, str | None] = {}
    wrong_choice: tuple[argparse.Action, str] | None = None
    action: argparse.Action | None = None  # last flag
    name = ""  # as it was typed
    values = 0  # values of the last flag so far
    positionals = [each for each in parser._get_positional_actions() if each.choices]
    for argument in arguments:
        if argument == "--":
            break
        if not _is_flag(argument):
            takes = _most_values(action) if action else 1 if name else 0
            checked = action if values < takes else positionals[0] if positionals else None
            if checked and checked.choices and argument not in checked.choices:
                wrong_choice = wrong_choice or (checked, argument)
            values += 1
            continue
        known = _known(parser, argument)
        if known is None:
            needs_value = action is not None and values == 0 and action.nargs in (None, "+")
            unknown.setdefault(argument.partition("=")[0], name if needs_value else None)
        action, values = known, 0
        name, equals, value = argument.partition("=")
        if known and equals:
            values = 1
            if known.choices and value not in known.choices:
                wrong_choice = wrong_choice or (known, value)
    return unknown, wrong_choice


def _is_flag(argument: str) -> bool:
    """Return True if argparse reads it as a flag: it begins with a dash, and is neither a number nor a text."""
    if not argument.startswith("-") or argument == "-" or re.fullmatch(r"-\d+|-\d*\.\d+", argument):
        return False
    return " " not in argument.partition("=")[0]


def _known(parser: argparse.ArgumentParser, argument: str) -> argparse.Action | None:
    """Return the action of a flag, also of a short flag with its value (`-n10`)."""
    actions = parser._option_string_actions
    name = argument.partition("=")[0]
    if name in actions or argument.startswith("--"):
        return actions.get(name)
    short, value = argument[:2], argument[2:]
    action = actions.get(short)
    # `-np` and `-concurrency` are no values of -n and -c, which take numbers, and `-output` is no folder `utput`.
    if action is None or action.nargs == 0 or f"-{name}" in actions or (action.type and value[:1].isalpha()):
        return None
    return action


def _most_values(action: argparse.Action) -> float:
    if action.nargs in ("+", "*"):
        return float("inf")
    return action.nargs if isinstance(action.nargs, int) else 1


def _visible_flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for flag, action in parser._option_string_actions.items() if action.help != argparse.SUPPRESS]


def _unknown_flags(command: str, unknown: Mapping[str, str | None], parsers: Parsers) -> ConfigError:
    """Return the error for flags that the command does not have, with what to type instead of each."""
    known = _visible_flags(parsers[command])
    elsewhere = {name: _visible_flags(parser) for name, parser in parsers.items() if name != command}
    hints = {}
    for flag, owner in unknown.items():
        hints[flag] = foreign_flags.suggest(command, flag, known, elsewhere)
        if not hints[flag] and owner:
            hints[flag] = f"a value that begins with a dash is written {owner}={flag}"
    plural = "s" if len(hints) > 1 else ""
    while True:
        shown = [f"{flag} ({hint})" if hint else flag for flag, hint in hints.items()]
        listed = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        sentence = f"`{command}` has no flag{plural} {listed}; see loadstone {command} --help"
        # Leave out the longest note as long as the sentence is too long.
        longest = max(hints, key=lambda flag: len(hints[flag]) if ";" in hints[flag] else 0)
        if len(sentence) <= MAX_LENGTH or ";" not in hints[longest]:
            return ConfigError(sentence)
        hints[longest] = hints[longest].partition(";")[0]


def _wrong_choice(command: str, action: argparse.Action, value: str) -> str:
    choices = [str(choice) for choice in action.choices or ()]
    subject = action.option_strings[-1] if action.option_strings else f"`{command}`"
    other = OTHER_NAMES.get(value.lower()) if action.dest == "view" else None
    near = [other] if other in choices else difflib.get_close_matches(value.lower(), choices, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{subject} takes {' or '.join([', '.join(choices[:-1]), choices[-1]])}, not {value!r}{hint}"


def _left_over_hint(argument: str, parser: argparse.ArgumentParser) -> str:
    """Return what to do with an argument that is neither a flag nor a value of one."""
    if re.match(r"(https?://|unix:)", argument) and "--url" in parser._option_string_actions:
        return " (use --url)"
    several = [each for each in parser._get_positional_actions() if each.nargs == "+"]
    return f" (write all {several[0].metavar} side by side)" if several else ""
