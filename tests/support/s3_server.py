"""An S3 server for tests: a process of its own on loopback, gone afterwards.

    with s3_server(folder) as s3:           # moto's server, up in some seconds
        s3.url("a", "file")                 s3://hilum/a/file
        s3.variables                        the environment by which AWS's own tools find it

The keys are checked by `versitygw`, a gateway over a folder that `make test-clusters` builds with
Go; moto takes any keys until it is told to look (POST to /moto-api/reset-auth).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from hadoop import die_with_parent, free_ports
from maven import cache_folder

BUCKET = "hilum"
REGION = "us-east-1"
START_S = 60.0
BUILD_S = 900
GATEWAY = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
_KEYS = {"AWS_ACCESS_KEY_ID": "hilum-tests", "AWS_SECRET_ACCESS_KEY": "hilum-tests-secret"}


class GatewayMissingError(Exception):
    """The stricter server cannot be had here; the message says why."""


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket.

    Attributes:
        variables: what AWS's tools read; no region file, no keys of the machine's user.
    """

    address: str
    variables: Mapping[str, str]

    @property
    def root(self) -> str:
        return f"s3://{BUCKET}"

    def url(self, *parts: str) -> str:
        return "/".join([self.root, *parts])


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Moto's server."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "moto.log", port, {}) as server:
        yield server


@contextmanager
def s3_gateway(folder: Path) -> Iterator[S3Server]:
    """Versity's gateway over a folder: checks keys, and keeps objects as files.

    Raises:
        GatewayMissingError: there is no Go, or no way to its modules.
    """
    (port,) = free_ports(1)
    data = folder / "objects"
    data.mkdir(parents=True)
    command = [str(_gateway()), "--port", f"127.0.0.1:{port}", "posix", str(data)]
    keys = {
        "ROOT_ACCESS_KEY": _KEYS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": _KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    with _running(command, folder / "gateway.log", port, keys) as server:
        yield server


def _gateway() -> Path:
    """The program, built once for all test runs of this user."""
    program = cache_folder() / "bin" / "versitygw"
    if program.is_file():
        return program
    if shutil.which("go") is None:
        raise GatewayMissingError("versitygw is built with Go: no go here")
    try:
        subprocess.run(
            ["go", "install", GATEWAY],
            env=os.environ | {"GOBIN": str(program.parent)},
            check=True,
            capture_output=True,
            timeout=BUILD_S,
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", b"") or b""
        raise GatewayMissingError(f"go install: {error}: {said.decode()[-400:]}") from error
    return program


@contextmanager
def _running(
    command: Sequence[str], log: Path, port: int, more: Mapping[str, str]
) -> Iterator[S3Server]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=os.environ | dict(more),
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, log)
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name=REGION,
            aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        settings = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": REGION}
        yield S3Server(address, _KEYS | settings)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:  # it answers
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{address} does not answer: {log.read_text()[-2000:]}")
