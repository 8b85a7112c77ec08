"""What is wrong with a storage as a whole and not with one file of it."""

__all__ = ["CredentialsError", "NotAnsweringError", "raise_unless_gone"]


class CredentialsError(PermissionError):
    """Keys or a login that are missing, wrong or have expired: no file can be read with them."""


class NotAnsweringError(OSError):
    """Nobody answered for as long as is waited; the next request would wait as long."""


def raise_unless_gone(error: OSError) -> None:
    """For walks through folders: one deleted meanwhile is empty, any other error is an error."""
    if not isinstance(error, FileNotFoundError):
        raise error
