"""Errors that a user can do something about; the command line prints them as one line."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A bad command line, config or folder: exit code 2."""


class ConfigError(UserError):
    """A bad value or key in the search config; the message starts with its path."""


class DamagedError(RuntimeError):
    """A task folder whose files cannot be read: exit code 1."""


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Returns a message about an unknown name with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"
