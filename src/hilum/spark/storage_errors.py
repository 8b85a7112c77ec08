"""What Spark's own clients of HDFS and S3 say when they are refused or not answered, in a sentence.

Java says it in a page: the reason, then how it got there. Hilum's clients have words for the same
(`hilum.storage`), and the user shall not notice which of them read a file.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hilum import storage

__all__ = ["storage_errors"]

_REFUSED = re.compile(
    r"(?:AccessControlException|AccessDeniedException|AWSBadRequestException"
    r"|NoAuthWithAWSException|NoAwsCredentialsException)\)?: ?([^\n]*)"
)
_SILENT = re.compile(
    r"(?:ConnectException|UnknownHostException|NoRouteToHostException|SocketTimeoutException"
    r"|ConnectTimeoutException|AWSClientIOException|UnknownStoreException)\)?: ?([^\n]*)"
)
_LONGEST = 300  # what AWS adds are numbers of the request
_HINT = (
    "Hint: Spark's clients read HADOOP_CONF_DIR, HADOOP_USER_NAME, AWS_ENDPOINT_URL, "
    "AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --conf spark.hadoop.fs..."
)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Around what Spark reads or writes.

    Raises:
        CredentialsError: the storage takes neither user nor keys, or the region is another.
        NotAnsweringError: there is nobody at its address, or no such bucket.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        for said, kind in (
            (_REFUSED.search(str(error)), storage.CredentialsError),
            (_SILENT.search(str(error)), storage.NotAnsweringError),
        ):
            if said is not None:
                words = said.group(1).strip()[:_LONGEST] or said.group(0)
                raise kind(f"{words}. {_HINT}") from None
        raise
