"""Designs of robots: the canonical form of an apr30 robot, and rule sequences of any other grammar.

Many rule sequences make one robot. `RobotDesign` holds what they have in common, so that two designs are equal exactly
when their robots are. A design has a rule sequence, a graph, and a text such as

    body(swing long, obtuse_lift) -roll- body -fixed- body(left_roll)

which reads from nose to tail: torso segments, the leg that a segment carries on both sides (its links from the torso
outwards, each named by its joint, `long` if it is a long one), and the joints between the segments.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from robogrammar_env.apr30 import LIMB_JOINTS, LIMB_LENGTHS, SPINE_JOINTS, apr30_graph, read_apr30_graph
from robogrammar_env.errors import DesignSyntaxError, DesignTooLargeError, nearest
from robogrammar_env.grammar import MAX_RULES, Grammar, load_grammar
from robogrammar_env.published import PUBLISHED
from robogrammar_env.robot import build_robot

EXAMPLE = "body(swing, obtuse_lift) -lift- body(swing, obtuse_lift)"


@dataclass(frozen=True, order=True)
class LimbLink:
    """One link of a leg.

    Attributes:
        joint: kind of the joint to its parent, a key of `LIMB_JOINTS`.
        long: 0.15 m if true, else 0.10 m.
    """

    joint: str
    long: bool = False

    def __str__(self) -> str:
        return f"{self.joint} long" if self.long else self.joint


@dataclass(frozen=True)
class RobotDesign:
    """A robot of the apr30 grammar in canonical form: equal designs are equal robots.

    Attributes:
        segments: for each torso segment, nose first, the links of its leg from the torso outwards; empty without legs.
            The leg is built on both sides.
        spine: the joint after each segment but the last, each a key of `SPINE_JOINTS`.

    Raises:
        DesignSyntaxError: no segment, an unknown joint kind, or not one spine joint between each two segments.
        DesignTooLargeError: more than `MAX_RULES` rules would be needed.
    """

    segments: tuple[tuple[LimbLink, ...], ...]
    spine: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.spine) != len(self.segments) - 1:
            raise DesignSyntaxError(
                f"a robot has one spine joint between each two of its torso segments (at least one), "
                f"got {len(self.segments)} segments and {len(self.spine)} spine joints"
            )
        for kind in self.spine:
            _check_kind(kind, "spine", SPINE_JOINTS)
        for link in self.limb_links:
            _check_kind(link.joint, "limb", LIMB_JOINTS)
        if self.num_rules > MAX_RULES:
            raise DesignTooLargeError(
                f"the design needs {self.num_rules} rules, at most {MAX_RULES} are allowed: {self}"
            )

    @property
    def limb_links(self) -> tuple[LimbLink, ...]:
        """Links of all legs on one side, nose to tail."""
        return tuple(link for leg in self.segments for link in leg)

    @property
    def num_rules(self) -> int:
        """Length of the canonical rule sequence, the shortest: 3 a segment, 3 a leg link of one side, and 1."""
        return 3 * len(self.segments) + 1 + 3 * len(self.limb_links)

    @property
    def num_joints(self) -> int:
        """Number of hinges, legs on both sides counted."""
        return 2 * len(self.limb_links) + sum(kind != "fixed" for kind in self.spine)

    @property
    def grammar(self) -> Grammar:
        """The grammar that `rules` belong to."""
        return load_grammar("apr30")

    @cached_property
    def rules(self) -> tuple[int, ...]:
        """The canonical rule sequence; replayed with first matches it makes this very robot.

        It finishes the robot from nose to tail, so that at any step only one place is left for the next rule to match.
        """
        names = ["make_robot", "end_head", *self._segment_rules(0)]
        for index, kind in enumerate(self.spine, start=1):
            names += ["append_body", SPINE_JOINTS[kind], *self._segment_rules(index)]
        return tuple(self.grammar.rule(name).number for name in [*names, "end_tail"])

    def _segment_rules(self, index: int) -> list[str]:
        leg = self.segments[index]
        if not leg:
            return ["make_body_without_legs"]
        names = ["make_body_with_legs"]
        for link in leg:
            names += [LIMB_JOINTS[link.joint], LIMB_LENGTHS[link.long], "append_limb_link"]
        return [*names[:-1], "end_limb"]

    @classmethod
    def from_rules(cls, rules: Sequence[int | str]) -> "RobotDesign":
        """Replays rules of apr30 (numbers or names) with first matches.

        Raises:
            UnknownRuleError, RuleNotApplicableError: a step cannot be done.
            UnfinishedDesignError: the sequence ends too early.
            DesignTooLargeError: there are more than `MAX_RULES` rules.
        """
        return cls.from_graph(load_grammar("apr30").replay(rules))

    def graph(self) -> nx.MultiDiGraph:
        """Returns the robot as a finished graph, with nodes named by place, the same as replaying `rules` makes."""
        return apr30_graph([[(link.joint, link.long) for link in leg] for leg in self.segments], self.spine)

    @classmethod
    def from_graph(cls, graph: nx.MultiDiGraph) -> "RobotDesign":
        """Reads the canonical design off a finished graph.

        Raises:
            UnfinishedDesignError: the graph still has symbols that are no robot parts.
            DesignSyntaxError: it is no robot of the apr30 grammar.
        """
        if not isinstance(graph, nx.MultiDiGraph):
            raise DesignSyntaxError(f"a robot's graph is a networkx.MultiDiGraph, got {type(graph).__name__}")
        load_grammar("apr30").check_finished(graph)
        legs, spine = read_apr30_graph(graph)
        return cls(tuple(tuple(LimbLink(*link) for link in leg) for leg in legs), tuple(spine))

    def to_text(self) -> str:
        """Returns the readable form; `from_text` reads it back."""
        parts = [f"body({', '.join(map(str, leg))})" if leg else "body" for leg in self.segments]
        joints = [f" -{kind}- " for kind in self.spine] + [""]
        return "".join(part + joint for part, joint in zip(parts, joints, strict=True))

    __str__ = to_text

    @classmethod
    def from_text(cls, text: str) -> "RobotDesign":
        """Reads the form that `to_text` writes.

        Raises:
            DesignSyntaxError: the text is not of that form; the message quotes the part that is not.
        """
        parts = re.split(r"\s*-\s*(\w+)\s*-\s*", text.strip())
        return cls(tuple(_leg_from_text(part) for part in parts[::2]), tuple(parts[1::2]))


@dataclass(frozen=True)
class GrammarDesign:
    """A robot of any grammar: the grammar and a complete rule sequence, replayed with first matches.

    Equal means the same sequence; unlike `RobotDesign`, two different sequences may still make one robot.

    Attributes:
        grammar: where the rules are from.
        rules: rule numbers.

    Raises:
        RuleError, UnfinishedDesignError, DesignTooLargeError: as for `Grammar.replay`.
    """

    grammar: Grammar
    rules: tuple[int, ...]

    def __post_init__(self) -> None:
        self.graph()

    @classmethod
    def from_rules(cls, grammar: Grammar, rules: Sequence[int | str]) -> "GrammarDesign":
        """Makes a design from rule numbers or names."""
        return cls(grammar, tuple(grammar.rule(which).number for which in rules))

    @property
    def num_rules(self) -> int:
        """Length of the rule sequence."""
        return len(self.rules)

    @property
    def num_joints(self) -> int:
        """Number of hinges of the robot."""
        return build_robot(self).num_joints

    def graph(self) -> nx.MultiDiGraph:
        """Returns the robot as a finished graph."""
        return self.grammar.replay(self.rules)

    def to_text(self) -> str:
        """Returns grammar and rule numbers, such as `apr30_wheel: 0 7 3 6`; `as_design` reads it back."""
        return f"{self.grammar.name}: {' '.join(map(str, self.rules))}"

    __str__ = to_text


Design = RobotDesign | GrammarDesign


def as_design(source: Design | str | nx.MultiDiGraph | Sequence[int | str], *, grammar: str = "apr30") -> Design:
    """Makes a design from whatever describes one.

    Args:
        source: a design; rules of `grammar` (a sequence of numbers or names, or text with spaces or commas between);
            a design's text (readable, or `GRAMMAR: RULES`); a name in `PUBLISHED`; or a finished apr30 graph.
        grammar: name or path of the grammar that plain rules belong to.

    Raises:
        RobotError: of the kind that says what is wrong; see `errors.py`.
    """
    if isinstance(source, RobotDesign | GrammarDesign):
        return source
    if isinstance(source, nx.Graph):
        return RobotDesign.from_graph(source)
    if isinstance(source, str):
        return _from_rules(*rules_of(source, grammar=grammar))
    if isinstance(source, Sequence) or hasattr(source, "__iter__"):
        return _from_rules(load_grammar(grammar), list(source))
    raise DesignSyntaxError(f"a design is rules, text or a graph, got {type(source).__name__}")


def rules_of(text: str, *, grammar: str = "apr30") -> tuple[Grammar, list[int | str]]:
    """Returns the grammar and the rules, as they are written, that a text stands for; they may not be complete.

    Args:
        text: as `as_design` takes it; of a readable design these are its canonical rules.
        grammar: name or path of the grammar that plain rules belong to.

    Raises:
        DesignSyntaxError, UnknownNameError: the text names no design or no grammar.
    """
    text = text.strip()
    if text in PUBLISHED:
        return load_grammar("apr30"), list(PUBLISHED[text])
    if re.match(r"body\b", text):
        design = RobotDesign.from_text(text)
        return design.grammar, list(design.rules)
    named, _, rules = text.rpartition(":")
    words = re.findall(r"[^\s,;\[\]()]+", rules)
    chosen = load_grammar(named.strip() or grammar)
    if words == [text] and not text.isdecimal() and all(rule.name != text for rule in chosen.rules):
        raise DesignSyntaxError(
            f"no published design or rule {text!r}{nearest(text, PUBLISHED)}; wants one of {', '.join(PUBLISHED)}, "
            f"rules of {chosen.name}, or a body in words such as {EXAMPLE!r}"
        )
    return chosen, list(words)


def _from_rules(grammar: Grammar, rules: Sequence[int | str]) -> Design:
    return RobotDesign.from_rules(rules) if grammar.name == "apr30" else GrammarDesign.from_rules(grammar, rules)


def _check_kind(kind: str, where: str, known: dict[str, str]) -> None:
    if kind not in known:
        raise DesignSyntaxError(f"unknown {where} joint {kind!r}{nearest(kind, known)}; known: {', '.join(known)}")


def _leg_from_text(text: str) -> tuple[LimbLink, ...]:
    match = re.fullmatch(r"body\s*(?:\(\s*([^()]*?)\s*\))?", text)
    if match is None:
        raise DesignSyntaxError(
            f"expected a torso segment such as `body` or `body(swing long, obtuse_lift)`, got {text!r}"
        )
    return tuple(map(_limb_from_text, match[1].split(","))) if match[1] else ()


def _limb_from_text(text: str) -> LimbLink:
    joint, *length = text.split() or [""]
    if length not in ([], ["long"]):
        raise DesignSyntaxError(f"expected a joint kind, with `long` after it for a long link, got {text.strip()!r}")
    return LimbLink(joint, bool(length))
