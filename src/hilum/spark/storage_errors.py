"""What Spark's own clients of HDFS and S3 say when they are refused or not answered, in a sentence.

Java says it in a page: the reason, then how it got there. Hilum's clients have words for the same
(`hilum.storage`), and the user shall not notice which of them read a file.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hilum import storage
from hilum.errors import HilumError, InvalidValueError

__all__ = ["storage_errors"]

# "org.x.Refused: words" from Java, "(org.x.Refused) words" from Spark Connect.
_CLASS = r"(?:[a-z]\w*\.)+(?:\w+\$)*{}\)?:? ?([^\n]*)"
_REFUSED = (
    "AccessControlException|AccessDeniedException|AWSBadRequestException"
    "|NoAuthWithAWSException|NoAwsCredentialsException"
)
_SILENT = (
    "ConnectException|UnknownHostException|NoRouteToHostException|SocketTimeoutException"
    "|ConnectTimeoutException|AWSClientIOException"
)
_ANY = re.compile(_CLASS.format("[A-Z]\\w*"))
_OF_CLIENTS = re.compile(r"\borg\.apache\.hadoop\.(?:fs|hdfs|net|security)\.")
# Executors and Python workers do not answer either, with the same classes of Java.
_OF_JOBS = re.compile(r"Job aborted|Python worker|FetchFailed|Netty|\bio\.netty\.")
_LONGEST = 300  # what AWS adds are numbers of the request
_HINT = (
    "Hint: Spark's clients read HADOOP_CONF_DIR, HADOOP_USER_NAME, AWS_ENDPOINT_URL, "
    "AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --conf spark.hadoop.fs..."
)


@contextmanager
def storage_errors(*urls: str) -> Iterator[None]:
    """Around what Spark reads or writes at URLs; local paths have no server that could refuse.

    Raises:
        CredentialsError: the storage takes neither user nor keys, or the region is another.
        NotAnsweringError: there is nobody at its address.
        InvalidValueError: there is no such bucket.
    """
    try:
        yield
    except (HilumError, OSError):
        raise
    except Exception as error:
        remote = [url for url in urls if storage.local_path(url) is None]
        found = _translated(str(error), remote) if remote else None
        if found is None:
            raise
        raise found from error


def _translated(said: str, urls: list[str]) -> Exception | None:
    """The sentence for what Java said; None where it speaks of something else than storage."""
    if _OF_JOBS.search(said):
        return None
    url = next((url for url in urls if url in said), urls[0])
    if _words(said, "UnknownStoreException") is not None:
        bucket = url.partition("://")[2].partition("/")[0]
        return InvalidValueError(
            f"{url}: there is no bucket {bucket!r}. Hint: make it first; AWS_ENDPOINT_URL names a "
            "server other than Amazon's, AWS_DEFAULT_REGION the region"
        )
    if (words := _words(said, _REFUSED)) is not None:
        return storage.CredentialsError(f"{url}: Spark was refused: {words}. {_HINT}")
    if (words := _words(said, _SILENT)) is not None:
        return storage.NotAnsweringError(f"{url}: Spark has no answer: {words}. {_HINT}")
    return None


def _words(said: str, kinds: str) -> str | None:
    """What an exception of these kinds says, if it is the outermost or one of Hadoop's clients."""
    match = re.search(_CLASS.format(f"(?:{kinds})"), said)
    first = _ANY.search(said)
    if match is None or first is None:
        return None
    if match.start() != first.start() and not _OF_CLIENTS.search(said):
        return None
    return match.group(1).strip()[:_LONGEST].rstrip(".") or match.group(0)
