"""Commands for people: what they print, and their exit codes."""

import pytest

from robogrammar_env.__main__ import main


def _run(capsys, command):
    code = main(command.split(" ") if isinstance(command, str) else command)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_show_explains_every_step_and_the_robot(capsys):
    code, out, _ = _run(capsys, "show 0, 7, 2, 16, 9, 5, 1 11 3 6")
    assert code == 0
    assert "step 4: rule 16 make_swing_limb_joint" in out
    assert "8 make_normal_limb_link" in out
    assert "left_limb_0_1     left_mount_0      swing               0.150    0.025    0.150" in out
    assert "links 6, joints 3, mass 0.950 kg" in out
    assert "design: body(swing long) -roll- body" in out
    assert "rules (10): 0 7 2 16 9 5 1 11 3 6" in out


def test_show_keeps_the_order_of_the_given_rules(capsys):
    _, out, _ = _run(capsys, "show 0 3 6 7")
    assert out.index("rule 3 ") < out.index("rule 6 ") < out.index("rule 7 ")
    assert "it has no joint" in out


def test_show_of_an_unfinished_sequence_says_what_could_come_next(capsys):
    code, out, _ = _run(capsys, "show 0 7 2")
    assert code == 0
    assert "19 make_backwards_lift_limb_joint" in out
    assert "not finished after 3 rules: left are tail, limb_link, limb" in out


def test_show_takes_readable_and_published_designs(capsys):
    assert "links 17, joints 12, mass 2.150 kg" in _run(capsys, "show ridged")[1]
    assert "step 1: rule 0 make_robot" in _run(capsys, ["show", "body(swing) -lift- body"])[1]
    assert "cylinder" not in _run(capsys, ["show", "apr30_wheel: 0 7 2 16 8 20 6"])[2]


def test_show_tells_of_self_collision(capsys):
    _, out, _ = _run(capsys, ["show", "body(left_roll long) -fixed- body(right_roll long)"])
    assert "collides with itself at rest: left_mount_0 with left_limb_1_1" in out


def test_show_draws(capsys, tmp_path):
    code, out, _ = _run(capsys, ["show", "flat", "--out", str(tmp_path / "flat.png")])
    assert code == 0 and (tmp_path / "flat.png").stat().st_size > 5000
    assert "picture: " in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("show 0 7 8", "step 3: rule 8 make_normal_limb_link does not apply"),
        ("show 0 99", "step 2: grammar apr30 has rules 0 to 19, got 99"),
        ("show 0 --out x.png", "not finished: left are head"),
        ("show 0 7 3 6 --out /nonexistent/x.png", "No such file"),
        ("show 0 --grammar apr31", "unknown grammar (or file) 'apr31', did you mean 'apr30'"),
        ("random --min-joints 30 --max-joints 40", "no body has 30 to 40 joints"),
        ("random --grammar apr30_wheel", "only be drawn with --uniform"),
        ("random --out x.foo", "unknown picture format 'foo'"),
        ("terrain moon", "unknown terrain 'moon'"),
        ("simulate 0 7 2", "not finished"),
        ("simulate 0 7 3 6", "has no joint"),
        ("simulate flat --controller dance", "unknown controller 'dance'; known: zero, random, sinusoid, gait, mppi"),
        ("simulate flat --terrain flat,ridge", "unknown terrain 'ridge', did you mean 'ridged'"),
        ("simulate flat --terrain moon", "unknown terrain 'moon'"),
        ("simulate flat --engine havok", "unknown engine 'havok'"),
        ("show Ridged", "no published design or rule 'Ridged', did you mean 'ridged'?"),
        (
            "show nonsense",
            "no published design or rule 'nonsense'; wants one of ridged, flat, gap, frozen_lake, rules of",
        ),
        ("show 0 \u00b2", "no rule named"),
        (f"show {'9' * 5000}", "a rule is a number or a name"),
        ("terrain ", "unknown terrain ''"),
        ("random --uniform --min-joints 3", "--min-joints means nothing with --uniform"),
        (
            "simulate flat --samples 3 --planner-seed 0",
            "--samples means nothing without --controller mppi",
        ),
        ("simulate flat --controller mppi --amplitude 0", "--amplitude means nothing without --controller sinusoid"),
        ("simulate flat --controller mppi --horizon 1", "horizon must be at least 2 control steps, got 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, command, message):
    code, _, err = _run(capsys, command)
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        *("", "dance", "random --count 0", "random --seed x", "random --seed -1", "show", "simulate flat --seed -3"),
        *("simulate flat --frequency-hz 1e308", "show flat --out ", "terrain --out "),
        *("simulate flat --amplitude nan", "simulate flat --frequency-hz inf", "simulate flat --frequency-hz x"),
    ],
)
def test_bad_command_line_is_one_line_and_exit_code_2(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main(command.split(" "))
    err = capsys.readouterr().err
    assert caught.value.code == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_full_disk_is_exit_code_1(capsys, tmp_path):
    (tmp_path / "full.png").symlink_to("/dev/full")
    code, _, err = _run(capsys, f"terrain flat --out {tmp_path / 'full.png'}")
    assert code == 1 and err.startswith("error: No space left on device") and err.count("\n") == 1


def test_random_prints_designs_that_the_same_seed_gives_again(capsys, tmp_path):
    path = tmp_path / "sheet.png"
    code, out, _ = _run(capsys, f"random --count 3 --seed 5 --max-joints 6 --out {path}")
    assert code == 0 and path.exists()
    assert out.count("rules 0 7") == 3
    assert out.splitlines()[:9] == _run(capsys, "random --count 3 --seed 5 --max-joints 6")[1].splitlines()


def test_random_uniform_draws_from_any_grammar(capsys):
    code, out, _ = _run(capsys, "random --uniform --seed 1 --grammar apr30_asym")
    assert code == 0 and out.startswith("apr30_asym: 0 ")


def test_random_uniform_gives_up_on_a_grammar_without_an_end(capsys, tmp_path):
    path = tmp_path / "endless.dot"
    path.write_text('digraph go { subgraph L { a [require_label="robot"]; } subgraph R { a [label="robot"]; } }')
    code, _, err = _run(capsys, f"random --uniform --seed 0 --grammar {path}")
    assert code == 2 and "came to an end within 40 rules" in err


def test_terrain_lists_and_draws(capsys, tmp_path):
    code, out, _ = _run(capsys, "terrain")
    assert code == 0 and "frozen_lake    1 boxes      0.05" in out
    code, out, _ = _run(capsys, f"terrain gap --out {tmp_path / 'gap.png'}")
    assert code == 0 and (tmp_path / "gap.png").exists()


@pytest.mark.parametrize("controller", ["zero", "random", "sinusoid", "gait"])
def test_simulate_runs_an_episode_and_prints_what_it_measured(capsys, controller):
    code, out, _ = _run(capsys, ["simulate", "body(obtuse_lift)", "--controller", controller, "--terrain", "ridged"])
    assert code == 0
    assert f"5 links, 2 joints, 0.850 kg; {controller} on ridged with pybullet" in out
    assert "speed_m_s" in out and "robogrammar_objective" in out and "steps                       128.0000" in out


def test_simulate_of_a_passive_robot_scores_robogrammars_4(capsys):
    _, out, _ = _run(capsys, "simulate ridged --controller zero")
    (line,) = [line for line in out.splitlines() if line.startswith("robogrammar_objective")]
    assert 3.8 < float(line.split()[1]) < 4.1


def test_simulate_plans_with_mppi(capsys):
    command = "simulate flat --controller mppi --samples 2 --first-samples 0 --horizon 2 --planner-seed 1"
    code, out, err = _run(capsys, command)
    assert code == 0
    assert "; mppi on flat with pybullet" in out and "robogrammar_objective" in out and "planning_cpu_s" in out
    assert "128/128" in err
