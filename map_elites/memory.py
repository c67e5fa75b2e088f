"""Memory of a run's main process and all of its children, told apart by what they do."""

from __future__ import annotations

import psutil


def memory_by_kind(main: psutil.Process | None = None) -> dict[str, int]:
    """Memory in bytes of "main" (this process by default), and of its "learner", "workers" and "helpers" (fork server).

    Pages that several processes share are split among them, so the sum counts them once. Processes that end meanwhile
    are left out. Where the system knows no proportional set size, it is the resident size.
    """
    sizes: dict[str, int] = {}
    main = main or psutil.Process()
    try:
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return sizes
    for process in family:
        try:
            kind = "main" if process == main else _kind(" ".join(process.cmdline()))
            full = process.memory_full_info()
        except psutil.Error:
            continue
        sizes[kind] = sizes.get(kind, 0) + int(getattr(full, "pss", full.rss))
    return sizes


def _kind(title: str) -> str:
    """What a child does, from its title."""
    if "shared_ppo learner" in title:
        return "learner"
    return "workers" if ": worker " in title else "helpers"
