"""Errors that a user can do something about; the command line prints them as one line."""

import contextlib
import difflib
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType

USER_MODULE = "gml_user_"  # how the names of modules made from the user's files begin


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


@contextlib.contextmanager
def user_code() -> Iterator[None]:
    """Turns an error that comes from one of the user's files into a ConfigError that names the line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ConfigError) or not (place := _place_in_user_code(error)):
            raise
        message = f"imports: {place}: {type(error).__name__}: {error}; mend it (a search then goes on with --resume)"
        raise ConfigError(message) from error


def _place_in_user_code(error: Exception) -> str:
    frames = traceback.walk_tb(error.__traceback__)
    own = [(frame.f_code, line) for frame, line in frames if _module_of(frame).startswith(USER_MODULE)]
    return "".join(f"{code.co_filename}, line {line}, in {code.co_name}" for code, line in own[-1:])


def _module_of(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")
