"""Optimizers of the Kaiwu SDK, whose constructors differ between versions.

Standard library and Python 3.10 only: the SDK's interpreter runs this file too.
"""

import inspect
import io
import os
import sys
from collections.abc import Callable
from typing import Any


def make_kaiwu_optimizer(
    optimizer_class: Callable[..., Any],
    *,
    task_name: str,
    user_id: str | None = None,
    sdk_code: str | None = None,
    saved_licence: bool = False,
    init_licence: Callable[..., Any] | None = None,
    **settings: Any,
) -> Any:
    """An optimizer such as `kaiwu.cim.CIMOptimizer`, of SDK 1.1 to 1.4.

    Without a licence the SDK asks for one on the standard input, and a program would wait forever. So the licence is
    looked for first, and while the optimizer is made, the standard input is empty.

    Args:
      optimizer_class: the SDK's class.
      task_name: name of the tasks on the platform; passed as `task_name` or `task_name_prefix`, what the class takes.
      user_id: user of the licence; by default the environment variable KAIWU_USER_ID.
      sdk_code: code of the licence; by default the environment variable KAIWU_SDK_CODE.
      saved_licence: the SDK has kept a licence from an earlier `kaiwu.license.init`; no other is looked for.
      init_licence: `kaiwu.license.init`, for versions whose optimizers take no `user_id` and `sdk_code` themselves.
      **settings: passed on: `task_mode` 'quota' or 'optimization', `project_no`, `sample_number`, `wait`, `interval`
        in minutes, at least 1, and what else the class takes.

    Raises:
      ValueError: if there is no licence, a setting is out of range, or the class does not take it.
    """
    _check_settings(settings)
    parameters = inspect.signature(optimizer_class).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    settings["task_name" if takes_all or "task_name" in parameters else "task_name_prefix"] = task_name
    if not saved_licence:
        licence = _find_licence(user_id, sdk_code)
        if "user_id" in parameters:
            settings.update(licence)
        elif init_licence is None:
            raise ValueError(
                f"init_licence is needed: {_name(optimizer_class)} takes no user_id; pass kaiwu.license.init, or "
                "saved_licence=True after it has run"
            )
        else:
            init_licence(**licence)
    unknown = [] if takes_all else sorted(set(settings) - set(parameters))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: cannot be honoured by {_name(optimizer_class)}, which takes "
            f"{', '.join(parameters)}; leave it out, or install another version of the SDK"
        )
    return _without_stdin(optimizer_class, settings)


def _check_settings(settings: dict[str, Any]) -> None:
    if settings.get("task_mode", "quota") not in ("quota", "optimization"):
        raise ValueError(f"task_mode must be 'quota' or 'optimization', got {settings['task_mode']!r}")
    for name, unit in (("interval", "minutes"), ("sample_number", "samples")):
        value = settings.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, in {unit}, got {value!r}")


def _find_licence(user_id: str | None, sdk_code: str | None) -> dict[str, str]:
    user_id = user_id or os.environ.get("KAIWU_USER_ID")
    sdk_code = sdk_code or os.environ.get("KAIWU_SDK_CODE")
    if not (user_id and sdk_code):
        raise ValueError(
            "the Kaiwu SDK needs a licence: set the environment variables KAIWU_USER_ID and KAIWU_SDK_CODE, pass "
            "user_id and sdk_code, or saved_licence=True where kaiwu.license.init has run before"
        )
    return {"user_id": user_id, "sdk_code": sdk_code}


def _without_stdin(optimizer_class: Callable[..., Any], settings: dict[str, Any]) -> Any:
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        return optimizer_class(**settings)
    except EOFError as error:
        raise ValueError(
            f"{_name(optimizer_class)} asked for a licence: the one it has is not valid; see user_id and sdk_code"
        ) from error
    finally:
        sys.stdin = stdin


def _name(optimizer_class: Callable[..., Any]) -> str:
    return getattr(optimizer_class, "__name__", repr(optimizer_class))
