"""Runs commands as jobs: each in processes of its own, every one of them ended when the job ends.

Knows processes, slots and logs; nothing of studies, searchers or scores. The API:

    from gml.jobs import Interrupted, Job, JobPool, Retry, Slots, State, end_orphans, interrupts

    end_orphans(folder)                          # jobs that a killed scheduler left below `folder`
    retry = Retry(times=2)
    with interrupts(), JobPool(Slots.gpus("0,1")) as pool:       # or Slots.plain(4)
        pool.start(Job("python main.py --gpu 0", "r0", job_dir=folder / "r0", timeout_s=3600))
        while pool.running:
            for job in pool.wait(timeout_s=1.0):                 # returns as soon as one ends
                print(job.name, job.status, job.reason, job.returncode, job.wall_s, job.gpu)
                if retry.allows(job):
                    pool.start(job.again())

- `Job(command, name, arg_dict, pavi_compare_id, symlink_paths, *, job_dir, cwd, env, log_file, timeout_s, grace_s)`:
  a shell command. Output goes to `log_file` (default `job_dir/training.log`) while it runs. Alone: `start()`,
  `wait()`, `kill()`, `status`. `gml.jobs.slurm`, `.container` and `.autolink` hold the other kinds,
  with the same methods and `configure(...)` for what is their own.
- `status` is PENDING, RUNNING, FINISHED (exit code 0), ERROR, KILLED (time limit, `kill`) or EARLY_STOPPED; `reason`
  says why in words, `failure` in one word (exit, signal, memory, timeout); `returncode` is 128 + signal number after a
  signal (139: crash).
- `JobPool.start(job)` needs `pool.has_room()`; it gives the job a slot: `CUDA_VISIBLE_DEVICES` and thread limits.
  A GPU is locked for as long as any process of its job lives, over all schedulers of this user on this machine.
- A job has ended when its whole tree has: what it left behind gets SIGTERM, after `grace_s` SIGKILL.
- When the scheduler dies (kill -9), a guard process ends its jobs; `end_orphans` finds them if the guard is dead too.
- `with JobPool(...)` ends what still runs: as ERROR after an exception (`Interrupted`: Ctrl-C, SIGTERM), else KILLED.
"""

from gml.jobs.job import Job, State
from gml.jobs.pool import JobPool
from gml.jobs.retry import Retry
from gml.jobs.slots import Slot, Slots
from gml.jobs.tree import end_orphans
from gml.signals import Interrupted, interrupts

__all__ = ["Interrupted", "Job", "JobPool", "Retry", "Slot", "Slots", "State", "end_orphans", "interrupts"]
