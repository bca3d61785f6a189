"""Two ways to make the same step cheaper: a CUDA graph of the whole of it, and `torch.compile` of a part.

Both are off unless asked for, and go back to plain steps, with one line, where the machine or torch cannot do it.

A graph is one launch in place of hundreds. What torch's notes on CUDA graphs ask for holds here: fixed shapes (one
graph for each), inputs in buffers that stay, no host sync inside, warm-up on a side stream (the first steps of each
shape, which are real ones), gradients made anew inside, one pool of memory for graphs that never run at the same time.
No GPU was at hand when this was written: the bookkeeping is tested with a capture that only remembers, the capture
itself by a test that needs a GPU.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: steps of a shape before it is captured
WARM = 3
#: graphs that are kept; steps of further shapes run plainly
MOST = 32

Step = Callable[..., None]
#: makes of a function without arguments one that repeats its kernels
Capture = Callable[[Callable[[], None]], Callable[[], None]]


class Replayed:
    """A step that runs plainly at first, and as a graph once its shape has come back.

    Args:
        step: called with tensors and a mapping of widths; works on tensors that stay where they are.
        device: where they are.
        forget: called when a capture has failed, to drop what it left in Python's hands.
        capture: of CUDA; another one for tests.
    """

    def __init__(
        self, step: Step, device: torch.device, forget: Callable[[], None], capture: Capture | None = None
    ) -> None:
        self.step, self.device, self.forget = step, device, forget
        self.capture = capture or _Cuda()
        self.seen: Counter[tuple] = Counter()
        self.graphs: dict[tuple, Callable[[], None]] = {}
        self.inputs: tuple[Tensor, ...] = ()
        self.on = capture is not None or device.type == "cuda"
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None
        if not self.on:
            note(f"CUDA graphs need a GPU, and this is a {device.type}: steps run plainly")

    def reset(self) -> None:
        """The tensors that the step works on are others now."""
        self.seen.clear()
        self.graphs.clear()
        self.inputs = ()

    def __call__(self, *inputs: Tensor, widths: dict[str, int]) -> None:
        """One step."""
        shape = tuple(sorted(widths.items()))
        self.seen[shape] += 1
        if self.on and shape not in self.graphs and self.seen[shape] > WARM and len(self.graphs) < MOST:
            self._record(shape, inputs, widths)
        if not self.on or shape not in self.graphs:
            self._plain(inputs, widths)
            return
        for buffer, x in zip(self.inputs, inputs, strict=True):
            buffer.copy_(x)
        self.graphs[shape]()

    def _record(self, shape: tuple, inputs: tuple[Tensor, ...], widths: dict[str, int]) -> None:
        self.inputs = self.inputs or tuple(x.clone() for x in inputs)
        try:
            self.graphs[shape] = self.capture(lambda: self.step(*self.inputs, widths=widths))
        except RuntimeError as error:
            self.on = False
            self.reset()
            self.forget()
            note(f"this step cannot be a CUDA graph ({_line(error)}): steps run plainly")

    def _plain(self, inputs: tuple[Tensor, ...], widths: dict[str, int]) -> None:
        if not self.on or self.side is None:
            self.step(*inputs, widths=widths)
            return
        here = torch.cuda.current_stream(self.device)
        self.side.wait_stream(here)
        with torch.cuda.stream(self.side):
            self.step(*inputs, widths=widths)
        here.wait_stream(self.side)


class _Cuda:
    """Capture into graphs that share one pool."""

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            function()
        return graph.replay


class Compiled:
    """A function compiled by torch at its first call; the function itself where that fails."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.plain = function
        self.fast: Callable[..., Any] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: Any) -> Any:
        """As the function; it must not have changed anything when compiling it fails, and has not: it has not run."""
        if self.fast is not None:
            try:
                return self.fast(*args)
            except Exception as error:  # compilers raise whatever they like
                self.fast = None
                note(f"torch.compile failed ({_line(error)}): steps run plainly")
        return self.plain(*args)


def note(text: str) -> None:
    """One line for whoever asked for it."""
    print(f"mer-bench: {text}", file=sys.stderr, flush=True)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
