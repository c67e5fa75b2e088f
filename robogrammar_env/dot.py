"""Reader for the part of Graphviz DOT that RoboGrammar's grammar files use; it remembers every line number.

A file is a list of `digraph NAME { ... }`, each with subgraphs that hold node statements `a [key=value, ...];` and edge
statements `a -> b [key=value, ...];`. Comments are `//`, `/* */` and `#`.
"""

import itertools
import re
from dataclasses import dataclass, field

from robogrammar_env.errors import GrammarFileError

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<arrow>->)
      | (?P<word>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![A-Za-z_])|\w+)
      | (?P<mark>[{}\[\]=,;])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """One word, quoted string (without its quotes), arrow or mark, and the line it is on (from 1)."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Statement:
    """A node (one name) or an edge (two names, tail then head) inside subgraph `side`.

    `attributes` maps each key to the token of its value.
    """

    side: str
    names: tuple[str, ...]
    attributes: dict[str, Token]
    line: int


@dataclass
class Digraph:
    """One `digraph` with its statements in file order."""

    name: str
    line: int
    statements: list[Statement] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)


def read_digraphs(text: str, source: str) -> list[Digraph]:
    """Parses DOT text.

    Args:
        text: content of the file.
        source: name of the file for error messages.

    Returns:
        The digraphs in file order.

    Raises:
        GrammarFileError: the text is not of the understood form; the message has source, line and digraph name.
    """
    return _Reader(text, source).digraphs()


def _tokens(text: str, source: str) -> list[Token]:
    tokens, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise GrammarFileError(f"{source}, line {line}: cannot read {text[position : position + 12]!r}")
        kind, word = str(match.lastgroup), match.group()
        if kind != "skip":
            tokens.append(Token(kind, word[1:-1] if kind == "string" else word, line))
        line += word.count("\n")
        position = match.end()
    return [*tokens, Token("end", "end of file", line)]


class _Reader:
    """Recursive descent over the tokens of one file."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._tokens = _tokens(text, source)
        self._next = 0
        self._where = ""

    def digraphs(self) -> list[Digraph]:
        found = []
        while self._peek().kind != "end":
            found.append(self._digraph())
        return found

    def _digraph(self) -> Digraph:
        line = self._expect("digraph").line
        graph = Digraph(self._name(), line)
        self._where = f", rule {graph.name}"
        self._expect("{")
        while not self._accept("}"):
            if self._accept("subgraph"):
                self._subgraph(graph)
            elif not self._accept(";"):
                raise self._error(self._peek(), "a rule holds only `subgraph L { ... }` and `subgraph R { ... }`")
        self._where = ""
        return graph

    def _subgraph(self, graph: Digraph) -> None:
        side = self._name()
        graph.sides.append(side)
        self._expect("{")
        while not self._accept("}"):
            if not self._accept(";"):
                graph.statements.extend(self._statements(side))

    def _statements(self, side: str) -> list[Statement]:
        """Reads `a [..]` or a chain `a -> b -> c [..]`, which stands for one edge per arrow."""
        line = self._peek().line
        names = [self._name()]
        if names[0] in ("node", "edge", "graph", "subgraph"):
            raise self._error(
                self._peek(), f"`{names[0]}` is not supported inside a subgraph; write attributes in full"
            )
        while self._accept("->"):
            names.append(self._name())
        attributes = self._attributes() if self._accept("[") else {}
        if len(names) == 1:
            return [Statement(side, (names[0],), attributes, line)]
        return [Statement(side, pair, attributes, line) for pair in itertools.pairwise(names)]

    def _attributes(self) -> dict[str, Token]:
        attributes: dict[str, Token] = {}
        while not self._accept("]"):
            key = self._name()
            self._expect("=")
            attributes[key] = self._value()
            if self._peek().text in (",", ";"):
                self._next += 1
        return attributes

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _accept(self, text: str) -> bool:
        token = self._peek()
        found = token.text == text and token.kind in ("mark", "arrow", "word")
        self._next += found
        return found

    def _expect(self, text: str) -> Token:
        token = self._peek()
        if not self._accept(text):
            raise self._error(token, f"expected `{text}`")
        return token

    def _name(self) -> str:
        return self._value("a name").text

    def _value(self, wanted: str = "a value") -> Token:
        token = self._peek()
        if token.kind not in ("word", "string"):
            raise self._error(token, f"expected {wanted}")
        self._next += 1
        return token

    def _error(self, token: Token, problem: str) -> GrammarFileError:
        return GrammarFileError(f"{self._source}, line {token.line}{self._where}: {problem}, got {token.text!r}")
