"""Functions of tensors on a GPU, captured as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class _Capture(NamedTuple):
    """A graph that reads `arguments` and writes `result`."""

    graph: torch.cuda.CUDAGraph
    arguments: tuple[Tensor, ...]
    result: Tensor


class CapturedFunction:
    """Calls a function of tensors by replaying its kernels, captured once for each combination of shapes.

    All that the function reads or writes beside its arguments must stay at its place in memory, and it must not look
    at a value. The result is overwritten by the next call. Functions of one process use the same libraries: what a
    library sets up at its first call is set up by the first function's.
    """

    _libraries_are_loaded = False

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._captures: dict[tuple[torch.Size, ...], _Capture] = {}

    def __call__(self, *arguments: Tensor) -> Tensor:
        """The function's result."""
        shapes = tuple(argument.shape for argument in arguments)
        if shapes not in self._captures:
            self._captures[shapes] = self._capture(arguments)
        capture = self._captures[shapes]
        for place, argument in zip(capture.arguments, arguments, strict=True):
            place.copy_(argument)
        capture.graph.replay()
        return capture.result

    def _capture(self, arguments: tuple[Tensor, ...]) -> _Capture:
        """Captures a call."""
        places = tuple(argument.clone() for argument in arguments)
        self._load_libraries(places)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self._function(*places)
        return _Capture(graph, places, result)

    def _load_libraries(self, arguments: tuple[Tensor, ...]) -> None:
        """Makes the first call in a process an ordinary one: what sets itself up then must not do so in a capture."""
        if CapturedFunction._libraries_are_loaded:
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._function(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        CapturedFunction._libraries_are_loaded = True
