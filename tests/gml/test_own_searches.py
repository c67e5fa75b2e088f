"""The searches of our own trainer: they are valid, and what they tune are settings that the trainer has."""

from pathlib import Path

import pytest

from gml.config import load_config
from gml.schedulers import NaiveScheduler
from gml.values import read_yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", sorted(ROOT.glob("configs/search/*.yaml")), ids=lambda file: file.stem)
def test_search_of_the_trainer_tunes_settings_that_exist(file, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    content, config = load_config(file)
    NaiveScheduler(tmp_path / "t", content)
    settings = read_yaml(ROOT / "configs" / "default.yaml")  # lists every setting
    for name in config.task.search_args:
        section, key = name.removeprefix("config(").removesuffix(")").split(".")
        assert key in settings[section]
