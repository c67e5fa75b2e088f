"""The search config: one YAML file, read into frozen dataclasses and checked as a whole before anything starts."""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from gml import values
from gml.errors import ConfigError, unknown
from gml.jobs.job import FAILURES
from gml.space import SearchSpace, read_search_args


@dataclass(frozen=True)
class TypedConfig:
    """A part that names a class and holds its settings; which ones are known, only the class knows."""

    type: str
    settings: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_STOP = TypedConfig("DefaultStopCriterion")


def typed(default_type: str | None = None) -> Callable[[Any], TypedConfig]:
    """Returns a reader for a mapping with a `type` key."""

    def read(value: Any) -> TypedConfig:
        content = values.mapping(value)
        name = content.pop("type", default_type)
        if not isinstance(name, str):
            raise ValueError("needs a `type`")
        return TypedConfig(name, content)

    return read


def section(cls: type) -> Callable[[Any], Any]:
    """Returns a reader for a nested part."""
    return lambda value: build(cls, value)


@dataclass(frozen=True)
class TaskConfig:
    """What is searched.

    Attributes:
        template: shell command of one job, with {name} where a value goes; "" for the MuJoCo benchmark.
        search_args: the search space.
        seed: seed of the searcher and of the first job ({seed} in the template, GML_SEED); later jobs count up.
        env: additions to the environment of the jobs.
    """

    template: Annotated[str, values.text]
    search_args: Annotated[SearchSpace, read_search_args]
    seed: Annotated[int, values.natural] = 0
    env: Annotated[dict[str, str], values.text_mapping] = field(default_factory=dict)


@dataclass(frozen=True)
class SearcherConfig:
    """How configurations are chosen.

    Attributes:
        type: a searcher, an Optuna sampler or a registered class.
        reward_attribute: name of the scalar that is optimised.
        optimize_mode: maximize or minimize.
        ckpt_save_path: handed to the jobs as {ckpt_save_path} and GML_CKPT_SAVE_PATH.
        settings: everything else, for the class.
    """

    type: Annotated[str, values.text] = "GridSearcher"
    reward_attribute: Annotated[str, values.text] = "acc"
    optimize_mode: Annotated[str, values.one_of("maximize", "minimize")] = "maximize"
    ckpt_save_path: Annotated[str, values.text] = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryConfig:
    """When a failed job is tried again, within its trial, so that the searcher hears of the last try only."""

    times: Annotated[int, values.natural] = 0
    on: Annotated[tuple[str, ...], values.texts] = FAILURES
    exit_codes: Annotated[tuple[int, ...], values.wholes] = ()


@dataclass(frozen=True)
class SchedulerConfig:
    """How jobs are run.

    Attributes:
        type: FIFO; has no effect.
        parallel_size: most jobs at a time; by default one per GPU slot, 1 without GPUs.
        stop_criterion: when the search, or a job, ends.
        filter_criterion: which configurations are left out.
        assessor: which jobs are stopped early; none by default.
        retry: see RetryConfig; off by default.
        gpus: ids with commas between; each job gets one.
        jobs_per_gpu: jobs that share one GPU.
        threads: limit for the numeric libraries of one job; by default the cores are shared evenly.
        grace_s: seconds between SIGTERM and SIGKILL.
        func_type: function of the MuJoCo benchmark.
        normalizer: how the MuJoCo benchmark scales observations.
        rollouts: episodes per value in the MuJoCo benchmark.
        survival_bonus: whether the MuJoCo benchmark searches with the bonus that Hopper pays for not falling;
            `max_reward` is a full return in any case.
    """

    type: Annotated[str, values.text] = "FIFO"
    parallel_size: Annotated[int | None, values.slots] = None
    stop_criterion: Annotated[TypedConfig, typed("DefaultStopCriterion")] = field(
        default_factory=lambda: TypedConfig("DefaultStopCriterion")
    )
    filter_criterion: Annotated[TypedConfig | None, typed()] = None
    assessor: Annotated[TypedConfig | None, typed()] = None
    retry: Annotated[RetryConfig, section(RetryConfig)] = field(default_factory=RetryConfig)
    gpus: Annotated[str, values.text] = ""
    jobs_per_gpu: Annotated[int, values.slots] = 1
    threads: Annotated[int | None, values.count] = None
    grace_s: Annotated[float, values.not_negative] = 5.0
    func_type: Annotated[str, values.one_of("swimmer", "hopper")] = "swimmer"
    normalizer: Annotated[str, values.one_of("online", "none", "ars")] = "none"
    rollouts: Annotated[int, values.count] = 3
    survival_bonus: Annotated[bool, values.flag] = True


@dataclass(frozen=True)
class PaviConfig:
    """Where scalars come from and where they are grouped.

    Attributes:
        compare: {name: ...} makes a new Compare, {id: ...} adds to one.
        scalars: names that are read besides the reward.
        files: files of the job that hold scalars: .jsonl, .json, .csv, or a folder of TensorBoard events;
            placeholders such as {job_dir} are filled in.
    """

    compare: Annotated[dict[str, Any], values.mapping] = field(default_factory=dict)
    scalars: Annotated[tuple[str, ...], values.texts] = ()
    files: Annotated[tuple[str, ...], values.texts] = ()


@dataclass(frozen=True)
class WinnerCheckConfig:
    """How many of the best configurations are run again, and on how many fresh seeds each; off by default."""

    top: Annotated[int, values.natural] = 0
    seeds: Annotated[int, values.count] = 5


@dataclass(frozen=True)
class SearchConfig:
    """The whole file.

    Attributes:
        task: what is searched.
        searcher: how.
        scheduler: how jobs are run.
        job: kind of job (LocalJob, SlurmJob, ContainerJob, AutolinkJob) and its settings.
        pavi: scalars.
        winner_check: runs the best again on fresh seeds.
        imports: Python files of the user with registered classes.
        use_spe: must be false; that cluster environment is not public.
        generate_log: whether each job keeps its output.
    """

    task: Annotated[TaskConfig, section(TaskConfig)]
    searcher: Annotated[SearcherConfig, lambda value: read_searcher(value)] = field(default_factory=SearcherConfig)
    scheduler: Annotated[SchedulerConfig, section(SchedulerConfig)] = field(default_factory=SchedulerConfig)
    job: Annotated[TypedConfig, typed("LocalJob")] = field(default_factory=lambda: TypedConfig("LocalJob"))
    pavi: Annotated[PaviConfig, section(PaviConfig)] = field(default_factory=PaviConfig)
    winner_check: Annotated[WinnerCheckConfig, section(WinnerCheckConfig)] = field(default_factory=WinnerCheckConfig)
    imports: Annotated[tuple[str, ...], values.texts] = ()
    use_spe: Annotated[bool, values.flag] = False
    generate_log: Annotated[bool, values.flag] = True


def build(cls: type, value: Any) -> Any:
    """Reads a mapping into a dataclass whose fields are annotated with the function that reads them.

    Raises:
        ConfigError: an unknown, missing or bad key; the message starts with its path.
    """
    content = values.mapping({} if value is None else value)
    readers = _readers(cls)
    for key in content:
        if key not in readers:
            raise ConfigError(f"{key}: {unknown('key', key, readers)}")
    for item in fields(cls):
        is_required = item.default is MISSING and item.default_factory is MISSING
        if item.name in readers and item.name not in content and is_required:
            raise ConfigError(f"{item.name}: is required")
    return cls(**{key: _read(readers[key], key, item) for key, item in content.items()})


def _readers(cls: type) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def _read(read: Callable[[Any], Any], key: str, value: Any) -> Any:
    try:
        return read(value)
    except ConfigError as error:
        raise ConfigError(f"{key}{'' if str(error)[0] in '[.:' else '.'}{error}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from None


def read_searcher(value: Any) -> SearcherConfig:
    """Reads the searcher's part: the common keys here, the others for its class."""
    content = values.mapping(value)
    known = _readers(SearcherConfig)
    common = build(SearcherConfig, {key: item for key, item in content.items() if key in known})
    extra = {key: item for key, item in content.items() if key not in known}
    return SearcherConfig(common.type, common.reward_attribute, common.optimize_mode, common.ckpt_save_path, extra)


def read_config(content: Any) -> SearchConfig:
    """Reads a whole config.

    Args:
        content: the parsed YAML.

    Raises:
        ConfigError: something is wrong with it.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"the config must be a mapping with the keys task, searcher, scheduler; got {content!r}")
    try:
        json.dumps(content)
    except (RecursionError, TypeError, ValueError) as error:  # a YAML set, or a list that holds itself
        raise ConfigError(f"the config cannot be kept as JSON: {error}") from None
    config = build(SearchConfig, content)
    if config.use_spe:
        raise ConfigError("use_spe: must be false: that cluster environment is not public")
    if compare := set(config.pavi.compare) - {"name", "id"}:
        raise ConfigError(f"pavi.compare.{min(compare)}: {unknown('key', min(compare), ('name', 'id'))}")
    return config


def load_config(file: Path) -> tuple[dict[str, Any], SearchConfig]:
    """Reads a config file; returns the parsed YAML and the config."""
    content = values.read_yaml(file)
    try:
        return content, read_config(content)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
