"""Settings from flags, YAML and lists of objects; plans; what is said about bad ones."""

import contextlib
import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
import yaml

from tools.rounds.cli import main
from tools.rounds.plan import Round
from tools.rounds.settings import make_settings

GOOD = {"exp_name": "e", "object_code_list": ["box", "cup"], "target_count_per_object": 10}


def run(capsys, *flags: str) -> tuple[int, str]:
    code = main(list(flags))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_count_per_object": 0}, "target_count_per_object is missing"),
        ({"target_count_per_object": -1}, "must be at least 1, got -1"),
        ({"target_count_per_object": "many"}, "must be of type int, got 'many'"),
        ({"target_count_per_object": 1.5}, "must be of type int, got 1.5"),
        ({"exp_name": "../x"}, "exp_name must be"),
        ({"exp_name": "a__b"}, "exp_name must be"),
        ({"object_code_list": ["a/b"]}, "object 'a/b' must be"),
        ({"object_code_list": ["a", "a"]}, "objects appear twice: a"),
        ({"object_code_list": []}, "object_code_list is missing"),
        ({"gpus": "0,0"}, "different names"),
        ({"gpus": ""}, "different names"),
        ({"max_rounds": 100_001}, "at most 100000"),
        ({"resume": "yes"}, "must be of type bool"),
        ({"filter": ["total"]}, "must look like"),
        ({"merge_strid": 3}, "did you mean 'merge_stride'?"),
        ({"round_timeout_s": -1}, "must be above 0"),
        ({"command": " "}, "command is empty"),
        ({"clean_after": "never"}, "clean_after must be"),
    ],
)
def test_bad_values_are_told_in_one_line_with_exit_code_2(tmp_path, capsys, monkeypatch, values, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**GOOD, **values}))
    code, told = run(capsys, "--config", "c.yaml")
    assert code == 2
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_bad_yaml_is_told(tmp_path, capsys, text):
    (tmp_path / "c.yaml").write_text(text)
    code, told = run(capsys, "--config", str(tmp_path / "c.yaml"))
    assert (code, told.count("\n")) == (2, 1)


def test_unknown_flags_are_told_in_one_line(capsys):
    code, told = run(capsys, "--merge_strid", "3")
    assert (code, told.count("\n"), "did you mean --merge_stride?" in told) == (2, 1, True)
    code, told = run(capsys, "--merge_stride")
    assert (code, told.count("\n")) == (2, 1)


def test_missing_files_are_told(tmp_path, capsys):
    assert run(capsys, "--config", str(tmp_path / "no.yaml"))[0] == 2
    code, told = run(capsys, "--exp_name", "e", "--object_code_list", str(tmp_path / "no.json"))
    assert (code, "cannot read the object list" in told) == (2, True)


def test_flags_win_over_yaml_and_numbers_may_be_written_as_powers():
    settings = make_settings({**GOOD, "target_count_per_object": "1e4", "gpus": 0}, {"exp_name": "f"})
    assert (settings.exp_name, settings.target_count_per_object, settings.gpus) == ("f", 10_000, "0")
    assert make_settings({**GOOD, "gpus": [0, 1]}).gpus == "0,1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", json.dumps(["box", "cup"])),
        ("dict.json", json.dumps({"object_code_list": ["box", "cup"]})),
        ("list.txt", "# objects\nbox\n\ncup  # blue\n"),
        ("list.lst", "box\ncup\n"),
    ],
)
def test_objects_come_from_json_or_text(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert make_settings({**GOOD, "object_code_list": [str(tmp_path / name)]}).object_code_list == ("box", "cup")


def test_names_seeds_and_folders_follow_the_rule():
    one = Round(make_settings(GOOD, {"seed_base": 12345}), object_index=1, round_id=7)
    assert (one.name, one.seed) == ("e__cup__r7", 12345 + 100_000 + 7)
    assert str(one.results) == "data/experiments/e__cup__r7/results"


def test_default_command_is_the_call_of_main_py():
    one = Round(make_settings(GOOD, {"round_batch_size": 512, "seed_base": 5}), object_index=0, round_id=2)
    assert one.command("3") == (
        f"{shlex.quote(sys.executable)} main.py --name e__box__r2 --object_code box --batch_size 512"
        " --num_iterations 10000 --seed 7 --gpu 0"
    )


def test_only_known_placeholders_are_filled_in():
    settings = make_settings(GOOD, {"command": "awk '{print $1}' {name} ${HOME} {gpu} {nothing} {object_index}"})
    command = Round(settings, 1, 0).command("cuda 1")
    assert command == "awk '{print $1}' e__cup__r0 ${HOME} 'cuda 1' {nothing} 1"


def test_dry_run_prints_the_plan_and_starts_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--exp_name", "e", "--object_code_list", "box", "cup", "--target_count_per_object", "100"]
    assert main([*flags, "--round_batch_size", "30", "--round_mb", "2", "--dry_run", "--gpus", "0,1"]) == 0
    told = capsys.readouterr().out
    assert "4 rounds, e__cup__r0 (seed 100000) to r3 (seed 100003)" in told
    assert "8 rounds of 2 MB (as given) = 16 MB" in told
    assert not (tmp_path / "data").exists()


def test_status_of_nothing_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, told = run(capsys, "status", "--exp_name", "e", "--object_code_list", "a", "--target_count_per_object", "1")
    assert (code, "there is no experiment" in told) == (2, True)


def test_status_and_dry_run_know_what_was_measured(experiment, capsys):
    assert experiment.run("--max_rounds", "2") == 1
    capsys.readouterr()
    assert main(["status", "--exp_name", "exp"]) == 0
    told = capsys.readouterr().out
    assert "nobody runs it" in told
    assert "8/20" in told
    assert "about 6 rounds left" in told
    assert main(["--exp_name", "exp", "--resume", "--dry_run"]) == 0
    assert "6 rounds of 0.00" in capsys.readouterr().out


def test_bar_shows_progress_over_all_objects_on_a_terminal(experiment):
    ours, theirs = pty.openpty()
    runner = subprocess.Popen(experiment.process(), cwd=experiment.root, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            told += piece
    os.close(ours)
    assert b"box     done      20/20" in runner.communicate()[0]
    assert runner.returncode == 0
    assert b"40/40" in told
    assert b"sample/s" in told
