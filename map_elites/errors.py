"""What a user can be told in one line, with the exit code that goes with it."""

from __future__ import annotations


class UserError(ValueError):
    """The command line, a setting or a folder is wrong: exit code 2, nothing has been touched."""


class RunFailedError(RuntimeError):
    """The run cannot go on, or what it left is damaged: exit code 1."""
