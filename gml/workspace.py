"""What search-init prepares: a folder for tasks, and a search that runs as it is."""

from pathlib import Path

from gml.task import ROOT

CONFIG = """\
task:
  # One job; {name} is replaced by the searched value. Report scores with pavi, or print `NAME: value`.
  template: "echo 'acc: {x}'"
  search_args:
    - {type: Real, name: x, data: [0, 1], step: 0.25}
searcher:
  type: GridSearcher
  reward_attribute: acc
scheduler:
  parallel_size: 2
"""


def prepare(folder: Path) -> list[str]:
    """Makes ./gml_tasks and a sample config; what is there stays. Returns what was done, in words."""
    done = []
    if not (folder / ROOT).is_dir():
        (folder / ROOT).mkdir(parents=True)
        done.append(f"made {ROOT}/")
    config = folder / "search_config.yaml"
    if not config.exists():
        config.write_text(CONFIG, encoding="utf-8")
        done.append(f"made {config.name}; try: search-run -t first {config.name}")
    return done or ["everything is there already"]
