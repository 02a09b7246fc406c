"""A request to end, which a run follows when its step is done."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

_REQUESTS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """While this is entered, the first SIGTERM or SIGINT is noted; a second one ends the process as ever.

    Outside the main thread, where no signal arrives, nothing is changed.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {request: signal.signal(request, self._note) for request in _REQUESTS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self._restore()

    def _restore(self) -> None:
        for request, handler in self._before.items():
            signal.signal(request, handler)  # type: ignore[arg-type]
        self._before = {}
