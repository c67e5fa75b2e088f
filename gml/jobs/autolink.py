"""Jobs on any other scheduler, by three templates of the user: submit, status, kill."""

import shlex

from gml.fill import fill
from gml.jobs.job import Job

# The id is what submit prints last. The loop runs on this machine; its end is the job's end.
SCRIPT = """\
id=$({submit} | tail -n 1 | awk '{{print $NF}}') || exit 1
[ -n "$id" ] || {{ echo "submit printed no id" >&2; exit 1; }}
printf %s "$id" > {id_file}
export id
while :; do
  case "$({status})" in
    {finished}) exit 0 ;;
    {failed}) exit 1 ;;
  esac
  sleep {interval_s}
done"""


class AutolinkJob(Job):
    """Submits the command and watches it.

    The templates know {command}, {name}, {log_file} and, for status and kill, $id: what submit printed last.
    """

    own_settings = ("submit", "status_command", "kill_template", "finished", "failed", "interval_s")
    submit, status_command, kill_template = "", "", ""
    finished, failed, interval_s = "", "", 2.0

    def configure(
        self,
        *,
        submit: str,
        status: str,
        kill: str,
        finished: str = "*FINISHED*|*COMPLETED*|*Succeeded*",
        failed: str = "*FAILED*|*ERROR*|*Failed*|*CANCELLED*",
        interval_s: float = 2.0,
    ) -> None:
        """Takes the templates.

        Args:
            submit: submits {command} and prints the id.
            status: prints the state of $id.
            kill: ends $id.
            finished: shell pattern of a state that means success.
            failed: shell pattern of a state that means failure.
            interval_s: seconds between two looks.
        """
        self.submit, self.status_command, self.kill_template = submit, status, kill
        self.finished, self.failed, self.interval_s = finished, failed, float(interval_s)

    def command_line(self) -> str:
        """Returns the script that submits and watches."""
        id_file = shlex.quote(str(self.job_dir / "remote_id"))
        return SCRIPT.format(
            submit=self._filled(self.submit),
            status=self._filled(self.status_command),
            id_file=id_file,
            finished=self.finished,
            failed=self.failed,
            interval_s=self.interval_s,
        )

    def kill_command(self) -> str:
        """Returns the user's kill command; before the submission it does nothing."""
        id_file = shlex.quote(str(self.job_dir / "remote_id"))
        return f"id=$(cat {id_file}) && export id && {self._filled(self.kill_template)}"

    def _filled(self, template: str) -> str:
        return fill(template, {"command": self.command, "name": self.name, "log_file": self.log_file})
