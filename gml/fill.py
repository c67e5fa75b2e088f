"""Fills values into command templates, quoted as the place demands."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

LOOKS_LIKE_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][\w.-]*)\}")


def fill(template: str, values: Mapping[str, Any], *, quote: bool = True) -> str:
    """Replaces {name} for the names in `values` and leaves all other braces alone.

    Args:
        template: text, a shell command if `quote`.
        values: what goes where.
        quote: whether values are protected from the shell, inside quotes and outside.
    """
    if not values:
        return template
    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\$)\{{({names})\}}")
    done, end = "", 0
    for match in pattern.finditer(template):
        done += template[end : match.start()]
        value = str(values[match.group(1)])
        done += _quoted(value, _open_quote(done)) if quote else value
        end = match.end()
    return done + template[end:]


def _open_quote(text: str) -> str:
    """Returns the quotation mark that is open at the end of a shell text, "" for none."""
    opened, skip = "", False
    for letter in text:
        if skip:
            skip = False
        elif letter == "\\" and opened != "'":
            skip = True
        elif letter in "'\"" and opened in ("", letter):
            opened = "" if opened else letter
    return opened


def _quoted(value: str, opened: str) -> str:
    if opened == '"':
        return re.sub(r'([\\"$`])', r"\\\1", value)
    safe = value.replace("'", "'\"'\"'")
    if opened == "'":
        return safe
    return value if re.fullmatch(r"[\w@%+=:,./-]+", value, re.ASCII) else f"'{safe}'"


def unknown_placeholders(template: str, names: Sequence[str]) -> list[str]:
    """Returns what looks like a placeholder and is none: perhaps a typing mistake, perhaps the program's own."""
    return [name for name in LOOKS_LIKE_PLACEHOLDER.findall(template) if name not in names]
