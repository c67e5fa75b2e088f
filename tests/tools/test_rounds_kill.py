"""kill -9 of the runner at any moment, again and again: the final arrays are those of an undisturbed run."""

import random
import subprocess
import sys
import time

import pytest

TARGET, BATCH = 60, 4
FAKE = "--sleep 0.02 --bad exit --bad_rounds 2,5"


def run_with_kills(experiment, num_kills: int, rng: random.Random) -> int:
    """Starts the runner with --resume until it ends by itself; kills it at first; returns how often it was killed."""
    killed = 0
    while True:
        command = experiment.process("--resume", fake=FAKE, target=TARGET, batch=BATCH)
        runner = subprocess.Popen(command, cwd=experiment.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            runner.wait(rng.uniform(0.05, 0.8) if killed < num_kills else 120)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.communicate()
            killed += 1
            continue
        assert runner.returncode == 0, runner.stderr.read().decode()
        return killed


@pytest.mark.parametrize("num_kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_final_arrays_are_the_same_after_kills_at_random_moments(make_experiment, num_kills):
    calm = make_experiment("calm")
    assert calm.run(fake=FAKE, target=TARGET, batch=BATCH) == 0
    disturbed = make_experiment("disturbed")
    begun = time.monotonic()
    killed = run_with_kills(disturbed, num_kills, random.Random(num_kills))
    print(f"{killed} kills in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    for object_code in ("box", "cup"):
        assert disturbed.final(object_code).read_bytes() == calm.final(object_code).read_bytes()
        failed = {line["round_id"]: len(line["failures"]) for line in disturbed.rounds(object_code) if line["failures"]}
        assert failed == {2: 3, 5: 3}  # a cut round costs no retry
    assert killed >= min(num_kills, 3)
