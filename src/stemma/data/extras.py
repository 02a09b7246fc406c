"""Packages that only some sources and speeds need, imported when they are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stemma.errors import Fault, InputError


def need(module: str, extra: str, purpose: str, where: str = "data") -> Any:
    """A module of an optional package.

    Args:
        module: its dotted name.
        extra: of this library, which installs the package.
        purpose: what it is needed for.
        where: who needs it.

    Raises:
        InputError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        remedy = f"install it: pip install 'stemma-lm[{extra}]'"
        raise InputError(where, Fault(package, None, f"is needed {purpose}", remedy)) from None
