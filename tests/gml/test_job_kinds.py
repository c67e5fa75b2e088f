"""Jobs elsewhere: real Slurm where it can run, containers and the user's own commands with stand-ins."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from gml.jobs import State
from gml.jobs.autolink import AutolinkJob
from gml.jobs.container import ContainerJob
from gml.jobs.slurm import SlurmJob

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A real Slurm with one node and two make-believe GPUs."""
    if os.getuid() != 0 or not shutil.which("slurmctld"):
        pytest.skip("a Slurm of our own needs root and the package slurm-wlm")
    folder = tmp_path_factory.mktemp("slurm")
    script = str(HERE / "one_node_slurm.sh")
    started = subprocess.run(["bash", script, "start", str(folder)], capture_output=True, text=True, timeout=120)
    if started.returncode:
        subprocess.run(["bash", script, "stop", str(folder)], check=False)
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()[-200:]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
    subprocess.run(["bash", script, "stop", str(folder)], check=False)


def slurm_job(tmp_path, command, name, options="-n1", **settings) -> SlurmJob:
    job = SlurmJob(command, f"{name}_{time.time_ns()}", job_dir=tmp_path / name, **settings)
    job.configure(options=options)
    return job


def slurm_jobs() -> str:
    return subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("command", "state", "returncode", "reason"),
    [
        ("echo to the log", State.FINISHED, 0, ""),
        ("exit 7", State.ERROR, 7, "exit code 7"),
        ("srun -n1 sh -c 'exit 3'", State.ERROR, 3, "exit code 3"),
    ],
)
def test_slurm_job_has_the_state_of_its_command(slurm, tmp_path, command, state, returncode, reason):
    job = slurm_job(tmp_path, command, "plain")
    job.start()
    assert (job.wait(60), job.returncode, job.reason) == (state, returncode, reason)
    if command.startswith("echo"):
        assert job.log_file.read_text() == "to the log\n"


def test_slurm_batch_job_is_waited_for(slurm, tmp_path):
    script = tmp_path / "batch.sh"
    script.write_text("#!/bin/sh\necho from batch\nexit 4\n")
    job = slurm_job(tmp_path, f"sbatch -n1 {script}", "batch")
    job.start()
    assert (job.wait(60), job.returncode) == (State.ERROR, 4)
    assert "from batch" in job.log_file.read_text()


def test_cancelled_slurm_job_is_killed(slurm, tmp_path):
    job = slurm_job(tmp_path, "sleep 300", "cancelled")
    job.start()
    wait_for(lambda: job.name in slurm_jobs())
    subprocess.run(["scancel", f"--name={job.name}"], check=True)
    assert (job.wait(60), job.reason) == (State.KILLED, "cancelled in Slurm")


@pytest.mark.parametrize("returncode", [0, 143])  # srun has been seen to exit with 0 after a cancelled start
def test_slurm_is_asked_until_it_says_how_a_job_ended(tmp_path, monkeypatch, returncode):
    asked = tmp_path / "asked"
    (tmp_path / "scontrol").write_text(
        f"#!/bin/sh\nstate=CANCELLED; [ -e {asked} ] || state=COMPLETING; touch {asked}\n"
        'echo "JobId=1 JobName=other JobState=FAILED"; echo "JobId=2 JobName=mine UserId=x JobState=$state"\n'
    )
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    job = SlurmJob("command", "mine", job_dir=tmp_path)
    assert job.outcome(returncode) == (State.KILLED, "cancelled in Slurm", "")


@pytest.mark.slow
def test_slurm_time_limit(slurm, tmp_path):
    job = slurm_job(tmp_path, "sleep 300", "limit", options="-n1 -t 0:01")
    job.start()
    assert (job.wait(150), job.reason, job.failure) == (State.KILLED, "Slurm time limit", "timeout")


@pytest.mark.parametrize("command", ["sleep 300", "sbatch -n1 --wrap 'sleep 300'"])
def test_killed_slurm_job_leaves_the_queue(slurm, tmp_path, command):
    job = slurm_job(tmp_path, command, "killed", grace_s=2.0)
    job.start()
    wait_for(lambda: job.name in slurm_jobs())
    assert job.kill() == State.KILLED
    wait_for(lambda: job.name not in slurm_jobs())


def test_search_over_slurm_gives_each_job_a_gpu(slurm, space):
    space.write(
        "c.yaml",
        "task:\n  template: \"srun -n1 --gres gpu:1 sh -c 'echo gpu $CUDA_VISIBLE_DEVICES; echo acc: {x}'\"\n"
        "  search_args: [{type: Int, name: x, data: [1, 3]}]\nscheduler: {parallel_size: 2}\n",
    )
    space.call("run", "-t", "t", "c.yaml", SLURM_CONF=os.environ["SLURM_CONF"])
    assert space.states() == ["FINISHED"] * 3
    assert "gpu " in (space.task().jobs / "job_0000" / "training.log").read_text()


def wait_for(condition, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


# A docker of a few lines: `run` starts the command with a pid file per name, `stop` ends it.
DOCKER = """#!/bin/sh
echo "$@" >> "$FOLDER/calls"
if [ "$1" = stop ]; then kill -TERM -- -$(cat "$FOLDER/$4.pid"); exit; fi
while [ "$1" != IMAGE ]; do [ "$1" = --name ] && name=$2; shift; done
shift
setsid env -i PATH="$PATH" sh -c 'echo $$ > '"$FOLDER/$name.pid"'; exec "$@"' x "$@" &
wait $!
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FOLDER", str(folder))
    return folder


def container_job(tmp_path, command, name, **settings) -> ContainerJob:
    job = ContainerJob(command, name, job_dir=tmp_path / name, cwd=tmp_path, env={"GML_SEED": "3"}, **settings)
    job.configure(image="IMAGE", volumes=["/data:/data:ro"], options="--ipc=host")
    return job


def test_container_job_runs_the_engine(docker, tmp_path):
    job = container_job(tmp_path, "echo inside; exit 5", "box")
    job.gpu = "1"
    job.start()
    assert (job.wait(30), job.returncode) == (State.ERROR, 5)
    assert job.log_file.read_text() == "inside\n"
    call = (docker / "calls").read_text()
    for words in ("--name box", "-w /work", "--gpus device=1", f"-v {tmp_path}:/work", "/data:/data:ro", "-e GML_SEED"):
        assert words in call
    assert "--ipc=host IMAGE sh -c" in call


def test_killed_container_is_stopped_by_name(docker, tmp_path):
    job = container_job(tmp_path, "sleep 300", "box", grace_s=2.0)
    job.start()
    wait_for(lambda: (docker / "box.pid").exists() and (docker / "box.pid").read_text().strip())
    pid = int((docker / "box.pid").read_text())
    assert job.kill() == State.KILLED
    assert "stop -t 2 box" in (docker / "calls").read_text()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def test_apptainer_and_podman_command_lines(tmp_path):
    job = container_job(tmp_path, "run me", "box")
    job.configure(image="x.sif", engine="apptainer")
    job.gpu = "0"
    line = job.command_line()
    assert "apptainer exec --nv --pwd /work --bind" in line
    assert line.endswith("x.sif sh -c 'run me'")
    assert job.kill_command() == ""
    job.configure(image="x", engine="podman")
    assert job.command_line().startswith("exec podman run --rm --name box")
    assert job.kill_command() == "podman stop -t 5 box"


@pytest.fixture(scope="module")
def podman(tmp_path_factory) -> str:
    """Options with which a real podman runs a root file system of ours (busybox), without an image or a network."""
    busybox = shutil.which("busybox")
    if os.getuid() != 0 or not (shutil.which("podman") and shutil.which("runc") and busybox):
        pytest.skip("a real container needs root and the packages podman, runc and busybox-static")
    root = tmp_path_factory.mktemp("root")
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("sh", "echo", "sleep", "cat"):
        (root / "bin" / name).symlink_to("busybox")
    options = f"--runtime runc --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --rootfs {root}"
    words = ["podman", "run", "--rm", *options.split(), "sh", "-c", "exit 0"]
    tried = subprocess.run(words, capture_output=True, text=True, timeout=120)
    if tried.returncode:
        pytest.skip(f"containers do not run here: {tried.stderr.strip()[-200:]}")
    return options


def containers() -> str:
    return subprocess.run(["podman", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True).stdout


def podman_job(tmp_path, command, options, **settings) -> ContainerJob:
    job = container_job(tmp_path, command, f"box_{time.time_ns()}", **settings)
    *options, root = options.split()
    job.configure(image=root, engine="podman", options=" ".join(options))
    return job


def test_real_container_sees_project_and_environment(podman, tmp_path):
    (tmp_path / "data.txt").write_text("from the project")
    job = podman_job(tmp_path, "cat data.txt; echo $GML_SEED > result.txt; exit 5", podman)
    job.start()
    assert (job.wait(60), job.returncode, job.reason) == (State.ERROR, 5, "exit code 5")
    assert job.log_file.read_text() == "from the project"
    assert (tmp_path / "result.txt").read_text() == "3\n"
    assert job.name not in containers()


def test_killed_real_container_is_gone(podman, tmp_path):
    job = podman_job(tmp_path, "echo up; sleep 300", podman, grace_s=1.0)
    job.start()
    wait_for(lambda: job.log_file.exists() and "up" in job.log_file.read_text())
    assert job.kill() == State.KILLED
    wait_for(lambda: job.name not in containers())


def container_search(space, podman, command) -> None:
    *options, root = podman.split()
    space.write(
        "c.yaml",
        f'task:\n  template: "{command}"\n'
        "  search_args: [{type: Int, name: x, data: [1, 3]}]\nscheduler: {parallel_size: 2}\n"
        f"job: {{type: ContainerJob, engine: podman, image: {root}, options: '{' '.join(options)}'}}\n",
    )


def test_search_over_real_containers(podman, space):
    container_search(space, podman, "echo 'acc: {x}'; echo $GML_JOB_NAME > $GML_JOB_DIR/inside")
    space.call("run", "-t", "t", "c.yaml")
    assert [row.value for row in space.rows()] == [1.0, 2.0, 3.0]
    assert (space.task().jobs / "job_0002" / "inside").read_text() == "job_0002\n"
    assert "t_job_" not in containers()


def test_real_containers_end_with_their_killed_scheduler(podman, space):
    container_search(space, podman, "sleep 300; echo {x}")
    scheduler = space.start("run", "-t", "t", "c.yaml")
    wait_for(lambda: containers().count("t_job_") == 2)
    scheduler.kill()
    scheduler.communicate()
    wait_for(lambda: "t_job_" not in containers())
    assert space.states() == ["ERROR", "ERROR"]


def remote_job(tmp_path, command, name, **settings) -> AutolinkJob:
    """A scheduler of three one-liners: jobs are processes, their states are files."""
    queue = tmp_path / "queue"
    queue.mkdir(exist_ok=True)
    submit = tmp_path / "submit.sh"
    submit.write_text(
        f'(sh -c "$1" > {queue}/out 2>&1 && echo COMPLETED > {queue}/state || echo FAILED > {queue}/state) '
        f"< /dev/null > /dev/null 2>&1 &\necho $! > {queue}/pid\necho Submitted batch job $!\n"
    )
    job = AutolinkJob(command, name, job_dir=tmp_path / name, **settings)
    job.configure(
        submit=f"sh {submit} {{command}}",
        status=f"cat {queue}/state 2>/dev/null || echo RUNNING $id",
        kill=f"echo killed $id > {queue}/killed",
        interval_s=0.1,
    )
    return job


@pytest.mark.parametrize(("command", "state"), [("echo done", State.FINISHED), ("exit 3", State.ERROR)])
def test_job_of_another_scheduler_is_submitted_and_watched(tmp_path, command, state):
    job = remote_job(tmp_path, command, "remote")
    job.start()
    assert job.wait(30) == state


def test_job_of_another_scheduler_is_killed_by_its_id(tmp_path):
    job = remote_job(tmp_path, "sleep 30", "remote", grace_s=1.0)
    job.start()
    wait_for(lambda: (tmp_path / "remote" / "remote_id").exists())
    assert job.kill() == State.KILLED
    pid = (tmp_path / "queue" / "pid").read_text().strip()
    assert (tmp_path / "queue" / "killed").read_text() == f"killed {pid}\n"


def test_template_that_starts_with_srun_is_a_slurm_job():
    from gml.schedulers.job import LocalJob, job_class

    assert job_class("LocalJob", "srun -n1 python x.py") is SlurmJob
    assert job_class("LocalJob", "python 'unclosed srun") is LocalJob
