"""S3 as the rest of Hilum needs it: errors that name the file and the way out, no made buckets.

s3fs passes on what botocore says, which is "Forbidden" or "Unable to locate credentials" and names
neither file nor setting; some of it is no OSError. Directories do not exist on S3.
"""

from collections.abc import AsyncIterator
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from s3fs import S3FileSystem
from s3fs.core import S3_RETRYABLE_ERRORS, S3File

from hilum.storage.refusals import CredentialsError, NotAnsweringError, raise_unless_gone

__all__ = ["S3"]

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with ~/.aws"
_OF_ONE_OBJECT = ("AccessDenied", "403", "InvalidObjectState")  # others are of whoever asks
_ADDRESS = "AWS_ENDPOINT_URL names a server other than Amazon's, AWS_DEFAULT_REGION the region"


class S3(S3FileSystem):  # type: ignore[misc]
    """s3fs, with nothing remembered of what others may change."""

    cachable = False  # `locate` keeps one for all threads; fsspec would make one for each

    def __init__(self, **options: Any) -> None:
        # Options are those of fsspec's settings (FSSPEC_S3). Listings that s3fs remembers hide what
        # other processes write.
        super().__init__(**options | {"use_listings_cache": False})

    async def _call_s3(self, method: str, *more: Any, **arguments: Any) -> Any:
        where = "/".join(str(arguments[name]) for name in ("Bucket", "Key") if name in arguments)
        try:
            return await super()._call_s3(method, *more, **arguments)
        except FileNotFoundError as error:
            if "bucket" in str(error).lower():
                bucket = arguments.get("Bucket")
                raise FileNotFoundError(
                    f"s3://{where}: there is no bucket {bucket!r}. Hint: make it first; {_ADDRESS}"
                ) from error
            raise
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise CredentialsError(f"s3://{where}: {error}. Hint: {_KEYS}") from error
        except PermissionError as error:
            kind = PermissionError if _code(error) in _OF_ONE_OBJECT else CredentialsError
            raise kind(f"s3://{where}: {error}. Hint: {_KEYS}") from error
        except HTTPClientError as error:
            raise NotAnsweringError(f"s3://{where}: {error}. Hint: {_ADDRESS}") from error
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"s3://{where}: {error}. Hint: {_ADDRESS}") from error

    async def _cat_file(self, path: str, *more: Any, **arguments: Any) -> Any:
        try:
            return await super()._cat_file(path, *more, **arguments)
        except S3_RETRYABLE_ERRORS as error:
            raise _broken_off(path, error) from error

    def _open(self, path: str, mode: str = "rb", **options: Any) -> S3File:
        """As s3fs does it; where a file is read, errors name it."""
        if mode != "rb":
            return super()._open(path, mode, **options)
        settings = {
            "block_size": self.default_block_size,
            "fill_cache": self.default_fill_cache,
            "cache_type": self.default_cache_type,
            "requester_pays": self.requester_pays,
            "s3_additional_kwargs": dict(self.s3_additional_kwargs),
        }
        given = {name: value for name, value in options.items() if value is not None}
        return _ReadFile(self, path, mode, **settings | given)

    async def _walk(
        self, path: str, *more: Any, on_error: Any = raise_unless_gone, **arguments: Any
    ) -> AsyncIterator[Any]:
        """Like s3fs, but a folder that cannot be listed is no empty one."""
        async for found in super()._walk(path, *more, on_error=on_error, **arguments):
            yield found

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: a file needs no directory here, and buckets are their owner's to make."""


class _ReadFile(S3File):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> Any:
        try:
            return super()._fetch_range(start, end)
        except S3_RETRYABLE_ERRORS as error:
            raise _broken_off(self.path, error) from error


def _broken_off(path: str, error: Exception) -> OSError:
    """Of an answer that broke off as often as it was asked for."""
    return OSError(f"s3://{path}: {error}. Hint: {_ADDRESS}")


def _code(error: PermissionError) -> str:
    """What the server called it."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
