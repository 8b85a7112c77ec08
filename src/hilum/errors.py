"""Every error Hilum raises on purpose, and the one sentence they share.

    HilumError
    ├── InvalidValueError (ValueError)   a parameter, column or file content breaks a rule
    ├── RejectedImageError               one image cannot be read; carries the reason code
    ├── MissingDependencyError           a package, program or file that must be installed is not
    ├── ChecksumError                    stored bytes are not the bytes that were written
    └── TrainingError                    a rank failed; carries rank, host and traceback
        └── RankLostError                a rank was lost: its process, host or connection is gone

Users get these; programming mistakes are plain asserts.
"""

__all__ = [
    "ChecksumError",
    "HilumError",
    "InvalidValueError",
    "MissingDependencyError",
    "RankLostError",
    "RejectedImageError",
    "TrainingError",
    "require",
]


class HilumError(Exception):
    """Base of all errors a user of Hilum can meet."""


class InvalidValueError(HilumError, ValueError):
    """A value breaks a rule; the message names parameter, rule, value and the way out."""


class MissingDependencyError(HilumError):
    """Something outside Hilum is missing; the message says how to install it."""


class ChecksumError(HilumError):
    """Stored bytes differ from what was written; the message names the file and the remedy."""


class RejectedImageError(HilumError):
    """One image cannot be used.

    `reason` is a stable code for tables and scripts (`hilum.radiograph.REASONS`);
    `detail` is free text for people and never holds patient data.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RejectedImageError"], tuple[str, str]]:
        return (RejectedImageError, (self.reason, self.detail))


class TrainingError(HilumError):
    """A rank failed. The message holds rank, host and the traceback as it happened there."""


class RankLostError(TrainingError):
    """A rank was lost, through no fault of the code it ran: another attempt may succeed.

    `task` is the launcher's number of the lost task (a Spark partition), None where unknown;
    `host` is where it ran, "" where unknown.
    """

    def __init__(self, message: str, *, task: int | None = None, host: str = "") -> None:
        super().__init__(message)
        self.task = task
        self.host = host


def require(holds: bool, parameter: str, rule: str, value: object, hint: str = "") -> None:
    """Raise InvalidValueError in the house's one sentence unless the rule holds.

    >>> require(0 < 1.5 < 1, "dropout", "between 0 and 1", 1.5, hint="try 0.2")
    Traceback (most recent call last):
    hilum.errors.InvalidValueError: dropout must be between 0 and 1. Got 1.5. Hint: try 0.2
    """
    if not holds:
        message = f"{parameter} must be {rule}. Got {value!r}."
        raise InvalidValueError(f"{message} Hint: {hint}" if hint else message)
