"""The compiled part, where it is installed."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import Any

_LOG = logging.getLogger("stemma")


@cache
def compiled() -> Any:
    """The module that native/ is built into; None where it is not installed, of which the log speaks once."""
    try:
        return import_module("stemma_native")
    except ImportError as error:
        _LOG.warning("The compiled part is not there, torch serves instead (%s).", error)
        return None
