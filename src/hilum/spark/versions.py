"""Driver and executors must run the same Python, torch and hilum, or fail before they start.

Two versions of torch sum in another order, two of hilum read another configuration: the run would
end hours later with "ranks must end with the same weights".
"""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from hilum.errors import InvalidValueError

__all__ = ["Versions", "check_versions", "own_versions"]

Versions = Mapping[str, str]
"""What must agree, by name: "Python" (major.minor), "torch", "hilum"."""


def own_versions() -> dict[str, str]:
    """The versions of this process, found without importing anything.

    A build's label ("+cpu", "+cu128") is left out: a driver without a GPU is usual.
    """
    found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in ("torch", "hilum"):
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            found[package] = "none"
    return found


def check_versions(driver: Versions, host: str) -> None:
    """Refuse to work on a host whose versions are not the driver's.

    Raises:
        InvalidValueError: names what differs, the host, and both versions.
    """
    here = own_versions()
    wrong = [name for name in driver if here.get(name) != driver[name]]
    if wrong:
        name = wrong[0]
        raise InvalidValueError(
            f"{name} on executors must be {driver[name]}, as on the driver. "
            f"Got {here.get(name)} on host {host} ({sys.executable}). Hint: install the same "
            "version there, or set PYSPARK_PYTHON to an interpreter that has it on every host."
        )
