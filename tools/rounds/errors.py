"""What can go wrong, by the exit code it leads to."""


class RoundsError(Exception):
    """A bad command line, settings or folder: the user can correct it."""

    exit_code = 2


class DamagedError(RoundsError):
    """Data on disk is not what it was when it was written, or the disk is full."""

    exit_code = 1


class ResultError(RoundsError):
    """What a round left behind cannot be used; the round has failed."""

    exit_code = 1
