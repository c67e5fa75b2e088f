"""A run, from settings to summary, and what can be done with its folder afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from map_elites.agreement import agreement
from map_elites.alone import AloneSearch
from map_elites.archive import Archive, ArchiveError, load_archive
from map_elites.checkpoint import LEARNER_FILE, read_state, restore_or_fail, search_state
from map_elites.config import ConfigError, merge, to_yaml
from map_elites.descriptors import find_descriptor
from map_elites.errors import Interrupted, RunFailedError, UserError
from map_elites.evaluation import verification_seeds
from map_elites.evolution import Evolution
from map_elites.files import write_atomically
from map_elites.logs import RunLog
from map_elites.run_folder import RunFolder, check_new_folder, default_name, make_folder, open_folder
from map_elites.schedule import Plan, make_plan
from map_elites.search import World
from map_elites.trainer.bodies import describe, design_space, read_design
from map_elites.trainer.settings import TrainConfig, config_from, load_config, modernise
from map_elites.variation import Variation
from shared_ppo.checkpoint import read as read_policy
from shared_ppo.device import why_no_gpu
from shared_ppo.errors import SharedPPOError

log = logging.getLogger(__name__)

RESUME_STRIDE = 1_000_003  # between the crew's seeds before and after a resume


class MAPElitesEvolutionTrainer:
    """Evolves robots while they learn.

    Args:
        base_args: A Namespace, a dict (flat by flag name, or nested like the config file) or a `TrainConfig`.
        num_initial_random: Random bodies of the first population.
        training_steps_per_individual: Guaranteed control steps of a newborn (shared), or its whole budget.
        enable_multiprocess: False runs everything in this process.
        max_workers: Worker processes.
        use_shared_ppo: One policy for all bodies; False: every individual trains its own.
        resume: Folder of an earlier run to go on with; `base_args` are its settings.

    Raises:
        UserError: A setting or folder is wrong; nothing has been touched.
    """

    def __init__(
        self,
        base_args: Any = None,
        num_initial_random: int | None = None,
        training_steps_per_individual: int | None = None,
        enable_multiprocess: bool | None = None,
        max_workers: int | None = None,
        use_shared_ppo: bool | None = None,
        *,
        resume: RunFolder | None = None,
    ) -> None:
        wanted = {
            "evolution.num_initial_random": num_initial_random,
            "evolution.training_steps_per_individual": training_steps_per_individual,
            "run.multiprocess": enable_multiprocess,
            "run.max_workers": max_workers,
            "run.shared": use_shared_ppo,
        }
        self.config = config_with(config_from(base_args), wanted)
        self._resume = resume
        self.folder = resume
        if resume is None and self.config.run.name is not None:
            check_new_folder(Path(self.config.run.results_dir), self.config.run.name)

    def run(self) -> dict[str, Any]:
        """Runs to the end.

        Returns:
            The content of `summary.json`.

        Raises:
            UserError: The run folder or log file is refused.
            RunFailedError: The run failed; the reason is in one line, details are in training.log.
            Interrupted: A signal ended it; a checkpoint is written.
            OSError: The disk is full, or a file cannot be written.
        """
        self._check_device()
        folder = self.folder = self._resume or self._make_folder()
        with folder.claimed():
            return self._run_claimed(folder)

    def _run_claimed(self, folder: RunFolder) -> dict[str, Any]:
        run_log = self._open_log(folder)
        try:
            return self._run_logged(folder, run_log)
        except Interrupted as error:
            interrupted = Interrupted(error.signal_number, folder.path if folder.checkpoints() else None)
            log.warning("%s", interrupted)
            raise interrupted from None
        except (UserError, RunFailedError, ArchiveError) as error:
            log.error("%s", error)
            raise
        except SharedPPOError as error:
            log.error("%s", error)
            raise RunFailedError(str(error)) from error
        except OSError as error:
            log.error("%s", error)
            raise
        except Exception as error:
            log.exception("the run failed")
            reason = f"the run failed: {type(error).__name__}: {error}; details are in {folder.log_path}"
            raise RunFailedError(reason) from error
        finally:
            run_log.close()

    def _run_logged(self, folder: RunFolder, run_log: RunLog) -> dict[str, Any]:
        from map_elites.loop import Loop, StopSignal
        from map_elites.report import Reporter, Totals

        with StopSignal() as stop:
            checkpoint = folder.newest_checkpoint() if self._resume else None
            state = read_state(checkpoint) if checkpoint else None
            totals = _totals(Totals, state, checkpoint)
            with stop.excuses_dead_processes():
                parts = make_parts(self.config, folder, checkpoint=checkpoint, state=state, totals=totals)
            self._write_settings(folder)
            log.info("%s: %s", "going on" if state else "starting", self.config)
            log.info("trains in %s, scores in %s", self.config.environment.trains_in, self.config.environment.engine)
            reporter = Reporter(
                folder,
                run_log,
                self.config.run,
                search=parts.search,
                crew=parts.crew,
                totals=totals,
                resumed_at=int(state["env_steps"]) if state else None,
            )
            loop = Loop(
                search=parts.search,
                crew=parts.crew,
                reporter=reporter,
                folder=folder,
                config=self.config.run,
                describe=describe,
                verification_seeds=seeds_of_verification(self.config),
                save_search=parts.save_search,
                stop=stop,
            )
            try:
                with stop.excuses_dead_processes():
                    return loop.run()
            except BaseException as error:
                if not isinstance(error, Interrupted):
                    loop.record_failure()
                raise
            finally:
                parts.crew.stop()
                reporter.close()

    def _check_device(self) -> None:
        if not self.config.run.shared or self.config.ppo.device != "cuda":
            return
        if reason := why_no_gpu():
            raise UserError(f"--device cuda (ppo.device): {reason}; take --device cpu or auto")

    def _make_folder(self) -> RunFolder:
        run = self.config.run
        results_dir = Path(run.results_dir)
        kind = run.mode if run.shared else f"independent-{run.mode}"
        name = run.name if run.name is not None else default_name(results_dir, mode=kind, seed=run.seed)
        check_new_folder(results_dir, name)
        if run.log_file:
            RunLog.check_path(Path(run.log_file))
        return make_folder(results_dir, name)

    def _open_log(self, folder: RunFolder) -> RunLog:
        extra = [Path(self.config.run.log_file)] if self.config.run.log_file else []
        run_log = RunLog([folder.log_path, *extra])
        run_log.open()
        return run_log

    def _write_settings(self, folder: RunFolder) -> None:
        write_atomically(folder.config_path, to_yaml(self.config))
        folder.write_versions()


@dataclass
class Parts:
    """Who decides and who works."""

    search: Any
    crew: Any
    save_search: Any


def make_parts(
    config: TrainConfig, folder: RunFolder, *, checkpoint: Path | None, state: Mapping[str, Any] | None, totals: Any
) -> Parts:
    """Search and crew of a run, fresh or from a checkpoint.

    Raises:
        RunFailedError: The checkpoint is damaged, or of the other kind of run.
    """
    plan = plan_of(config)
    search = make_search(config, plan)
    if checkpoint and state:
        restore_or_fail(search, checkpoint, state, read_design)
    if isinstance(search, AloneSearch):
        if checkpoint and (checkpoint / LEARNER_FILE).exists():
            raise RunFailedError(
                f"{folder.config_path} is damaged: run.shared is false, but {checkpoint} has a learner"
            )
        crew = make_alone_crew(config, plan, folder, search, state)
    else:
        crew = make_shared_crew(config, plan, search.design_of, checkpoint, totals)
    return Parts(search, crew, lambda: search_state(search))


def make_shared_crew(
    config: TrainConfig, plan: Plan, design_of: Callable[[int], Any], checkpoint: Path | None, totals: Any = None
) -> Any:
    """Workers and learner of the shared policy; their random numbers go new ways after every resume."""
    from map_elites.trainer.shared_crew import SharedCrew

    return SharedCrew(
        config,
        plan,
        design_of,
        checkpoint=checkpoint,
        policy_updates=totals.policy_updates if totals else 0,
        seed=(config.run.seed + RESUME_STRIDE * (totals.resumes if totals else 0)) % 2**31,
    )


def make_alone_crew(
    config: TrainConfig, plan: Plan, folder: RunFolder, search: AloneSearch, state: Mapping[str, Any] | None
) -> Any:
    """Workers in which individuals learn alone."""
    from map_elites.trainer.alone_crew import AloneCrew

    crew = AloneCrew(
        config, plan.workers, search.design_of, policies=folder.path / "policies", state=(state or {}).get("crew")
    )
    search.steps_done = crew.steps_of
    return crew


def plan_of(config: TrainConfig) -> Plan:
    """Sizes of a run."""
    return make_plan(
        config.run.total_steps,
        config.run.max_workers,
        config.evolution,
        config.evaluation,
        episode_steps=config.episode.control_steps,
        terrains=len(config.environment.terrains),
        shared=config.run.shared,
    )


def seeds_of_verification(config: TrainConfig) -> tuple[int, ...]:
    """The episodes that every elite gets at the end."""
    terrains = len(config.environment.terrains)
    return verification_seeds(config.run.seed, config.evaluation.verification_episodes, terrains)


def make_search(config: TrainConfig, plan: Plan) -> Evolution | AloneSearch:
    """The evolution under a shared policy, or the one in which everybody learns alone."""
    parts: dict[str, Any] = {
        "plan": plan,
        "evolution": config.evolution,
        "evaluation": config.evaluation,
        "archive": Archive(config.archive.axes()),
        "variation": Variation(design_space(config.evolution.max_joints), config.evolution.more_edits),
        "world": World(",".join(config.environment.terrains), config.environment.engine, describe),
        "run_seed": config.run.seed,
    }
    if config.run.shared:
        return Evolution(**parts)
    return AloneSearch(lockstep=config.run.mode == "sync", **parts)


def _totals(kind: Any, state: Mapping[str, Any] | None, checkpoint: Path | None) -> Any:
    if state is None:
        return kind()
    try:
        totals = kind(**state["totals"])
        int(state["env_steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunFailedError(f"checkpoint {checkpoint} is damaged: {error}") from None
    totals.resumes += 1
    return totals


def config_with(config: TrainConfig, wanted: Mapping[str, Any]) -> TrainConfig:
    """The settings with some of them changed, by dotted name; None leaves a setting as it is.

    Raises:
        ConfigError: With everything that is wrong.
    """
    from map_elites.config import build, nest, to_plain

    plain = to_plain(config)
    for name, value in wanted.items():
        if value is not None:
            plain = merge(plain, nest(name, value))
    return build(TrainConfig, plain)


def changed_config(stored: TrainConfig, overrides: Mapping[str, Any]) -> TrainConfig:
    """An earlier run's settings with some changed; its policy goes on sensing what it was trained with.

    Args:
        stored: Settings of the run.
        overrides: Nested settings, such as another terrain, engine, seed or number of workers.

    Raises:
        ConfigError: With everything that is wrong.
    """
    from map_elites.config import build, to_plain

    before = stored.environment
    sensed = {"environment": {"ground_heights": before.terrain_samples}}
    plain = merge(merge(to_plain(stored), sensed), modernise(overrides))
    after = plain["environment"]
    moved = isinstance(after, Mapping) and after["engine"] != before.engine
    if moved and after["engine_settings"] == before.engine_settings:  # meant for the other engine
        plain["environment"] = {**after, "engine_settings": {}}
    return build(TrainConfig, plain)


def stored_config(folder: RunFolder) -> TrainConfig:
    """Settings of an earlier run.

    Raises:
        RunFailedError: They are damaged.
    """
    try:
        config = load_config(folder.config_path, {})
    except ConfigError as error:
        raise RunFailedError(f"{folder.config_path} is damaged: {error}") from None
    if not folder.config_path.read_text(encoding="utf-8").strip():  # every run writes all of its settings
        raise RunFailedError(f"{folder.config_path} is damaged: it is empty")
    return config


def open_run(path: Path) -> tuple[RunFolder, TrainConfig, Archive]:
    """Folder, settings and archive of an earlier run, whose policy only acts from now on, so that it needs no GPU.

    Raises:
        UserError: Not a run folder.
        RunFailedError: Its settings are damaged.
        ArchiveError: Its archive is damaged or missing.
    """
    folder = open_folder(path)
    config = stored_config(folder)
    config = replace(config, ppo=replace(config.ppo, device="cpu"))
    try:
        archive = load_archive(folder.archive_path, axes=config.archive.axes(), read_design=read_design)
    except FileNotFoundError:
        raise ArchiveError(f"{folder.path} has no archive.json; {_rebuild(folder)}") from None
    except ArchiveError as error:
        raise ArchiveError(f"{error}; {_rebuild(folder)}") from None
    return folder, config, archive


def _rebuild(folder: RunFolder) -> str:
    """What to do about an archive that cannot be read."""
    return f"--resume {folder.path} writes it again from the newest checkpoint"


def plot_run(path: Path, names: Sequence[str] | None = None) -> Path:
    """Draws a run's archive again, over other descriptors if wanted, and returns the picture's path.

    Raises:
        UserError: Not a run folder, or no such descriptor.
        ArchiveError: The archive is damaged.
    """
    from map_elites.plots import save_heatmap

    folder, _, archive = open_run(path)
    if names is None:
        target, axes = folder.heatmap_path, archive.axes
    else:
        try:
            axes = tuple(find_descriptor(name) for name in names)
        except ValueError as error:
            raise UserError(f"--axes: {error}") from None
        if len(axes) != 2 or names[0] == names[1]:
            raise UserError(f"--axes wants two different descriptors, such as joints,mass_kg; got {','.join(names)}")
        target = folder.heatmap_path.with_name(f"heatmap_{names[0]}_{names[1]}.png")
    save_heatmap(archive, target, axes, title=folder.path.name)
    return target


def evaluation_crew(config: TrainConfig, plan: Plan, folder: RunFolder, designs: Mapping[int, Any]) -> Any:
    """A crew with the newest weights of a run, that only evaluates the designs, by id.

    Raises:
        RunFailedError: The run has no checkpoint.
        CheckpointError: A policy is damaged or missing.
    """
    if config.run.shared:
        return make_shared_crew(config, plan, designs.__getitem__, folder.newest_checkpoint())
    from map_elites.trainer.alone_crew import AloneCrew

    crew = AloneCrew(config, plan.workers, designs.__getitem__, policies=folder.path / "policies")
    for number in designs:
        read_policy(crew.policy_path(number))
    return crew


@contextmanager
def policy_errors() -> Iterator[None]:
    """What is wrong with policies and their processes, as the error of a run.

    Raises:
        RunFailedError: Instead of a SharedPPOError.
    """
    try:
        yield
    except SharedPPOError as error:
        raise RunFailedError(str(error)) from error


def evaluate_run(path: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Scores all elites of a run again under its newest weights, on seeds that no run uses for selection.

    Args:
        path: Run folder; nothing in it changes.
        overrides: Nested settings, such as another terrain, engine, seed or number of workers.

    Returns:
        `engine`, `terrain`, `seed` and `episodes` behind the scores; `elites`, the fastest first: id, design, the
        `recorded_speed` (verified, where the run got so far), the fresh `speed`, `terrain_speeds` and
        `robogrammar_objective`; and how far recorded and fresh speeds agree, see `agreement`.

    Raises:
        UserError, RunFailedError, ArchiveError: As `open_run`; or a policy is damaged or missing, or there is no elite.
    """
    from map_elites.loop import StopSignal
    from map_elites.verification import verify_elites

    folder, stored, archive = open_run(path)
    config = changed_config(stored, overrides or {})
    if not len(archive):
        raise UserError(f"the archive of {folder.path} has no elite")
    designs = {elite.id: elite.design for elite in archive}
    recorded = {elite.id: elite.known_speed for elite in archive}
    seeds = seeds_of_verification(config)
    with policy_errors(), StopSignal() as stop, stop.excuses_dead_processes():
        crew = evaluation_crew(config, plan_of(stored), folder, designs)
        try:
            crew.start()
            stop.check()
            verify_elites(
                crew,
                archive,
                describe=describe,
                seeds=seeds,
                while_waiting=stop.check,
            )
        finally:
            crew.stop()
    return {
        "engine": config.environment.engine,
        "terrain": ",".join(config.environment.terrains),
        "seed": config.run.seed,
        "episodes": len(seeds) - 1,
        **evaluation_of(archive, recorded),
    }


def evaluation_of(archive: Archive, recorded: Mapping[int, float]) -> dict[str, Any]:
    """The freshly verified elites of an archive beside their recorded speeds, by id."""
    rows: list[dict[str, Any]] = [
        {
            "id": elite.id,
            "design": str(elite.design),
            "recorded_speed": recorded[elite.id],
            "speed": elite.verified.fitness if elite.verified else None,
            "terrain_speeds": dict(elite.verified.terrain_speeds) if elite.verified else {},
            "robogrammar_objective": elite.verified.robogrammar_objective if elite.verified else None,
        }
        for elite in archive
    ]
    rows.sort(key=lambda row: (row["speed"] is None, -(row["speed"] or 0.0), row["id"]))
    return {**agreement(rows), "elites": rows}
