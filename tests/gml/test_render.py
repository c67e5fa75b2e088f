"""Placeholders in commands, and copies of the program's own config files."""

import shlex
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gml.errors import ConfigError
from gml.fill import fill, unknown_placeholders
from gml.render import render_file
from gml.space import FileArg


def test_only_known_names_are_replaced():
    template = "a {x.y} {batch-size} ${HOME} {print $1} {unknown} ${x.y} '{x.y}'"
    assert fill(template, {"x.y": 1, "batch-size": 2}) == "a 1 2 ${HOME} {print $1} {unknown} ${x.y} '1'"
    assert unknown_placeholders(template, ["x.y", "batch-size"]) == ["unknown"]


@pytest.mark.parametrize("template", ["printf %s {v}", "printf %s '{v}'", 'printf %s "{v}"', "printf %s a{v}b"])
@settings(deadline=None, max_examples=25)
@given(value=st.text(st.characters(codec="ascii", exclude_characters="\0\n\r"), max_size=20))
def test_values_pass_the_shell_unchanged(template, value):
    if template.endswith(" {v}") and not value:
        return  # an empty value outside of quotes is still one (empty) word, see below
    printed = subprocess.run(["sh", "-c", fill(template, {"v": value})], capture_output=True, text=True).stdout
    assert printed == (f"a{value}b" if "a{v}b" in template else value)


def test_empty_value_is_an_empty_word():
    assert shlex.split(fill("x {v} y", {"v": ""})) == ["x", "", "y"]


def test_yaml_keys_are_set_where_the_dots_lead(tmp_path):
    source = tmp_path / "in" / "config.yaml"
    source.parent.mkdir()
    source.write_text("epochs: 1\nscheduler: {gamma: 0.1, step: 3}\nplain.key: 0\nlist: [1, 2]\n")
    values = {"epochs": 5, "scheduler.gamma": 0.7, "plain.key": 9, "new.deep.key": "x"}
    target = render_file(FileArg("config", str(source), "file_art"), values, source, tmp_path)
    assert target == tmp_path / "file_art.yaml"
    assert yaml.safe_load(target.read_text()) == {
        "epochs": 5,
        "scheduler": {"gamma": 0.7, "step": 3},
        "plain.key": 9,
        "list": [1, 2],
        "new": {"deep": {"key": "x"}},
    }


def test_python_values_are_set_where_they_stand(tmp_path):
    source = tmp_path / "in" / "config.py"
    source.parent.mkdir()
    source.write_text("import os\nlr = (\n    0.1)\nhalf = lr / 2\noptimizer = dict(type='SGD', lr=lr)\n")
    values = {"lr": 0.5, "optimizer.type": "Adam", "extra": [1, 2]}
    target = render_file(FileArg("config", str(source), ""), values, source, tmp_path)
    namespace: dict = {}
    exec(target.read_text(), namespace)
    assert (namespace["lr"], namespace["half"], namespace["extra"]) == (0.5, 0.25, [1, 2])
    assert namespace["optimizer"] == {"type": "Adam", "lr": 0.5}


def test_setting_below_a_number_is_refused(tmp_path):
    source = tmp_path / "config.yaml"
    source.write_text("epochs: 1\n")
    with pytest.raises(ConfigError, match="no mapping"):
        render_file(FileArg("config", str(source), "copy"), {"epochs.x": 1}, source, tmp_path)


def test_python_values_are_replaced_in_place_only(tmp_path):
    source = tmp_path / "c.py"
    source.write_text(
        "\x0cä = 'ö'; lr = 0.1; epochs = 3\n\x0c\nwd: float = (\n    0.5\n)\nhalf = wd / 2\n"
        "text = 'a\x1cb\u2028'; last = 1\n"
    )
    (tmp_path / "out").mkdir()
    values = {"lr": 7, "wd": 9, "last": 2, "ä": "ü"}
    rendered = render_file(FileArg("c", str(source), ""), values, source, tmp_path / "out").read_text()
    found: dict = {}
    exec(rendered, found)
    assert (found["ä"], found["lr"], found["epochs"], found["half"], found["last"]) == ("ü", 7, 3, 4.5, 2)
    assert rendered.count("=") == 7


@pytest.mark.parametrize(
    ("content", "key"), [(b"\xff", "lr"), (b"lr = 1", "batch-size"), (b"lr = 1", "class"), (b"lr = '\0'", "lr")]
)
def test_python_file_that_cannot_be_set_is_refused(tmp_path, content, key):
    source = tmp_path / "c.py"
    source.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.py"):
        render_file(FileArg("c", str(source), "copy"), {key: 1}, source, tmp_path)
