"""Imports point one way: `map_elites.trainer` joins the rooms, the rest of each room does not know the others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "robogrammar_env": {"shared_ppo", "map_elites", "gml", "pavi", "tools"},
    "shared_ppo": {"robogrammar_env", "map_elites", "gml", "pavi", "tools"},
    "map_elites": {"robogrammar_env", "shared_ppo", "gml", "tools", "torch", "pybullet"},
    "gml": {"robogrammar_env", "shared_ppo", "map_elites"},
    "tools": {"robogrammar_env", "shared_ppo", "map_elites"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_do_not_import_one_another(room: str):
    for path in sorted((ROOT / room).rglob("*.py")):
        if path.is_relative_to(ROOT / "map_elites" / "trainer"):
            continue
        wrong = imported(path) & FORBIDDEN[room]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_settings_are_checked_without_the_heavy_libraries():
    """Bad input is answered before the learner's libraries are loaded."""
    import subprocess
    import sys

    code = "import map_elites.trainer, sys; print([n for n in ('torch', 'matplotlib', 'pybullet') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
