"""Jobs on Slurm: through srun, or sbatch --wait; killed and asked by name."""

import re
import shlex
import shutil
import subprocess
import time

from gml.jobs.job import Job, State

ASK_LIMIT_S = 20.0
SETTLE_LIMIT_S = 10.0  # a job that srun has left is RUNNING or COMPLETING for a moment, which hides how it ended
SETTLE_POLL_S = 0.1
UNSETTLED = ("RUNNING", "COMPLETING")
# State in `scontrol show job` -> ours. COMPLETED and FAILED follow from the exit code.
STATES = {
    "TIMEOUT": (State.KILLED, "Slurm time limit", "timeout"),
    "DEADLINE": (State.KILLED, "Slurm deadline", "timeout"),
    "CANCELLED": (State.KILLED, "cancelled in Slurm", ""),
    "OUT_OF_MEMORY": (State.ERROR, "out of memory", "memory"),
    "NODE_FAIL": (State.ERROR, "node failed", "exit"),
    "PREEMPTED": (State.ERROR, "preempted", "exit"),
}


class SlurmJob(Job):
    """A command that runs through Slurm.

    A command that starts with srun or sbatch keeps its own options; any other is wrapped in `srun OPTIONS sh -c ...`.
    """

    own_settings = ("options",)
    options = ""

    def configure(self, *, options: str = "") -> None:
        """Takes the options of srun, such as "-p gpu -n1 --gres=gpu:1"."""
        self.options = options

    def command_line(self) -> str:
        """Returns the srun or sbatch command; its job name is ours."""
        named = f"SLURM_JOB_NAME={shlex.quote(self.name)} SBATCH_JOB_NAME={shlex.quote(self.name)} "
        if re.match(r"\s*srun\s", self.command):
            return named + self.command.lstrip()
        if re.match(r"\s*sbatch\s", self.command):
            rest = re.sub(r"^\s*sbatch\s+", "", self.command)
            return f"{named}sbatch --wait --output={shlex.quote(str(self.log_file))} --open-mode=append {rest}"
        return f"srun --job-name={shlex.quote(self.name)} {self.options} sh -c {shlex.quote(self.command)}"

    def kill_command(self) -> str:
        """Returns the scancel command; without Slurm here (a stand-in for srun) there is none."""
        return f"scancel --name={shlex.quote(self.name)}" if shutil.which("scancel") else ""

    def outcome(self, returncode: int) -> tuple[State, str, str]:
        """Returns what Slurm says of the job, else what its exit code says.

        Slurm is asked after exit code 0 too: srun can return it for a job that was cancelled while its step started.
        """
        return STATES.get(self._settled_state()) or super().outcome(returncode)

    def _settled_state(self) -> str:
        end = time.monotonic() + SETTLE_LIMIT_S
        while (told := self._slurm_state()) in UNSETTLED and time.monotonic() < end:
            time.sleep(SETTLE_POLL_S)
        return told

    def _slurm_state(self) -> str:
        if not shutil.which("scontrol"):
            return ""
        try:
            asked = subprocess.run(
                ["scontrol", "show", "job", "-o"], capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        lines = [line for line in asked.stdout.splitlines() if f" JobName={self.name} " in line]
        found = re.search(r" JobState=(\w+)", lines[-1]) if lines else None
        return found.group(1) if found else ""
