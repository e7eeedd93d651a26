"""Packages that are not installed by default: there, or a line that says which extra brings them."""

from __future__ import annotations

from importlib.util import find_spec

from npuwatt.errors import NpuwattError


def need(package: str, extra: str) -> None:
    """Raise NpuwattError unless a package is installed."""
    if find_spec(package) is None:
        raise NpuwattError(f"this needs {package}; install npuwatt[{extra}]")
