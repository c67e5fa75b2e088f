"""Grammars: rule sequences applied from the start symbol to a finished robot graph.

As in RoboGrammar, a rule's number is its position in the file, a rule is always applied at its first match, and a
derivation has at most 40 rules.
"""

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import networkx as nx

from robogrammar_env.errors import (
    DesignTooLargeError,
    GrammarFileError,
    RuleNotApplicableError,
    UnfinishedDesignError,
    UnknownRuleError,
    nearest,
    unknown_name,
)
from robogrammar_env.grammar_file import read_rules
from robogrammar_env.rule import Rule, unfinished_parts

MAX_RULES = 40
"""Most rule applications in one derivation (RoboGrammar's `--depth 40`)."""

_FOLDER = Path(__file__).parent / "grammars"

GRAMMARS = ("apr30", "apr30_asym", "apr30_wheel")
"""Names of the grammars that come with the package."""


@dataclass(frozen=True)
class Grammar:
    """A list of rules; two grammars are equal if name and text are.

    Attributes:
        name: "apr30", or the path of a user's own file.
        text: the DOT source.
        rules: in file order, so that `rules[n]` is rule number n.
    """

    name: str
    text: str = field(repr=False)
    rules: tuple[Rule, ...] = field(compare=False, repr=False)

    def rule(self, which: int | str) -> Rule:
        """Returns a rule by number or name.

        Raises:
            UnknownRuleError: there is no such rule, the message lists what there is; or several have that name.
        """
        if isinstance(which, str) and not which.isdecimal():
            named = [rule for rule in self.rules if rule.name == which]
            if not named:
                hint = nearest(which, [rule.name for rule in self.rules])
                raise UnknownRuleError(f"grammar {self.name} has no rule named {which!r}{hint}")
            if len(named) > 1:
                numbers = " and ".join(str(rule.number) for rule in named)
                raise UnknownRuleError(f"grammar {self.name} calls rules {numbers} {which!r}; give the number")
            return named[0]
        try:
            number = int(which) if isinstance(which, str) else operator.index(which)
        except (TypeError, ValueError):  # a ValueError for more digits than Python converts
            raise UnknownRuleError(f"a rule is a number or a name, got {which!r}") from None
        if not 0 <= number < len(self.rules):
            raise UnknownRuleError(f"grammar {self.name} has rules 0 to {len(self.rules) - 1}, got {number}")
        return self.rules[number]

    def start(self) -> nx.MultiDiGraph:
        """Returns the initial graph: one node labelled `robot`."""
        graph = nx.MultiDiGraph()
        graph.add_node("robot", label="robot")
        return graph

    def applicable(self, graph: nx.MultiDiGraph) -> list[Rule]:
        """Returns the rules that have an applicable match in `graph`."""
        return [rule for rule in self.rules if rule.first_match(graph) is not None]

    def apply(self, graph: nx.MultiDiGraph, which: int | str, *, step: int = 1) -> nx.MultiDiGraph:
        """Applies a rule at its first match.

        Args:
            graph: the graph before; it is left as it is.
            which: number or name of the rule.
            step: place of this rule in its sequence, from 1, for the error message.

        Returns:
            The graph after.

        Raises:
            UnknownRuleError: there is no such rule.
            RuleNotApplicableError: it has no match; the message lists the rules that have.
        """
        try:
            rule = self.rule(which)
        except UnknownRuleError as error:
            raise UnknownRuleError(f"step {step}: {error}") from None
        match = rule.first_match(graph)
        if match is None:
            options = ", ".join(map(str, self.applicable(graph))) or "none, the robot is finished"
            raise RuleNotApplicableError(f"step {step}: rule {rule} does not apply; applicable rules: {options}")
        return rule.apply(graph, match)

    def derive(self, rules: Sequence[int | str]) -> Iterator[nx.MultiDiGraph]:
        """Yields the graph after each rule of a sequence; raises as `apply` does."""
        graph = self.start()
        for step, which in enumerate(rules, start=1):
            if step > MAX_RULES:
                raise DesignTooLargeError(f"a derivation has at most {MAX_RULES} rules, got {len(rules)}")
            graph = self.apply(graph, which, step=step)
            yield graph

    def replay(self, rules: Sequence[int | str]) -> nx.MultiDiGraph:
        """Returns the robot graph that a complete rule sequence makes.

        Raises:
            UnknownRuleError, RuleNotApplicableError: a step cannot be done.
            DesignTooLargeError: there are more than `MAX_RULES` rules.
            UnfinishedDesignError: the sequence ends too early; the message says what is left and what could come next.
        """
        *_, graph = itertools.chain([self.start()], self.derive(rules))
        self.check_finished(graph)
        return graph

    def check_finished(self, graph: nx.MultiDiGraph) -> None:
        """Raises UnfinishedDesignError if a graph still has symbols that are no robot parts."""
        parts = unfinished_parts(graph)
        if parts:
            options = ", ".join(map(str, self.applicable(graph))) or "none"
            raise UnfinishedDesignError(
                f"the design is not finished: left are {', '.join(parts)}; applicable rules: {options}"
            )


@cache
def load_grammar(name_or_path: str = "apr30") -> Grammar:
    """Loads a grammar of this package by name, or a user's own DOT file in RoboGrammar's format.

    Raises:
        UnknownNameError: neither a known name nor an existing file.
        GrammarFileError: the file has an error; the message names file, line and rule.
    """
    path = _FOLDER / f"{name_or_path}.dot" if name_or_path in GRAMMARS else Path(name_or_path)
    if not path.is_file():
        raise unknown_name("grammar (or file)", name_or_path, GRAMMARS)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GrammarFileError(f"{path.name}: not a text file ({error.reason} at byte {error.start})") from None
    return Grammar(name_or_path, text, read_rules(text, name_or_path))
