"""Every error of this room: what was wrong, where, and what would be right.

All derive from `RobotError` (a `ValueError`), so that callers can catch one kind, or all of them.
"""

import difflib
from collections.abc import Iterable


class RobotError(ValueError):
    """Something about a robot, its grammar or its simulation is not right."""


class RuleError(RobotError):
    """A rule sequence cannot be followed."""


class UnknownRuleError(RuleError):
    """A rule number or name is not in the grammar."""


class RuleNotApplicableError(RuleError):
    """A rule of the sequence finds no match at its step."""


class UnfinishedDesignError(RobotError):
    """A rule sequence ends (or a graph is given) with symbols that are no robot parts yet."""


class DesignTooLargeError(RobotError):
    """A design needs more rule applications than a derivation may have."""


class SelfCollisionError(RobotError):
    """Two links of a robot overlap at rest."""


class NoJointsError(RobotError):
    """A robot has no joint that could move."""


class DesignSyntaxError(RobotError):
    """A design's text, parts or graph are not of the form that is understood."""


class GrammarFileError(RobotError):
    """A grammar file has an error; the message names file, line and rule."""


class UnknownNameError(RobotError):
    """A terrain, engine or similar is not known; the message lists the known names."""


class SimulationDiverged(RobotError):
    """The physics of a body went to infinity or NaN."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Makes the error for a name that is not in a registry.

    Args:
        what: the kind of thing, such as "terrain".
        name: what was asked for.
        known: all names that exist.

    Returns:
        An error whose message has the nearest known name (if any is near) and the whole list.
    """
    names = list(known)
    return UnknownNameError(f"unknown {what} {name!r}{nearest(str(name), names)}; known: {', '.join(names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ", did you mean 'x'?" for the known name closest to `name`, or "" if none is close."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
