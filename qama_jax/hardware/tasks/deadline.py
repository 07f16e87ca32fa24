"""Calls that may never return."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def call_within(function: Callable[[], Any], seconds: float) -> Any:
    """The result of `function()`, waited for at most so many seconds.

    Python cannot stop a call: one that is too late goes on in a thread that does not keep the program from ending.

    Raises:
      TimeoutError: if it has not returned in time; else what it raises.
    """
    outcome: queue.SimpleQueue = queue.SimpleQueue()

    def call():
        try:
            outcome.put((function(), None))
        except Exception as error:
            outcome.put((None, error))

    threading.Thread(target=call, daemon=True, name="qama-task").start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds} seconds") from None
    if error is not None:
        raise error
    return value
