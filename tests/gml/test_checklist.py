"""The checklist in docs/gml.md: every line names a test, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "gml.md"


def checklist() -> list[list[str]]:
    """Returns the cells of each row: lines, what, test."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Checklist")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("row", checklist(), ids=lambda row: row[0])
def test_named_tests_exist(row):
    source, named = "", re.findall(r"`([^`]+)`", row[-1])
    assert named, f"no test beside {row[0]}"
    for words in named:
        file, _, name = words.rpartition("::") if "::" in words else ("", "", words)
        if words.endswith(".py"):
            file, name = words, ""
        source = (HERE / file).read_text(encoding="utf-8") if file else source
        begin, end = ("" if name.startswith("...") else r"def "), ("" if name.endswith("...") else r"\(")
        pattern = begin + ("" if begin else r"def test_\w*") + re.escape(name.strip(".")) + end
        assert not name or re.search(pattern, source), f"{words} beside {row[0]} is no test"


def test_every_letter_of_the_checklist_occurs():
    lines = " ".join(row[0] for row in checklist())
    assert {word[0] for word in re.findall(r"[A-L]\d+", lines)} == set("ABCDEFGHJKL")
