"""Contents of image files: a refusal of one file is its own, any other is everyone's."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hilum.decoding import read_local_file, read_remote_file
from hilum.errors import RejectedImageError
from hilum.storage import CredentialsError
from image_files import picture, png


def test_a_file_the_disk_does_not_deliver_is_unreadable():
    with pytest.raises(RejectedImageError) as caught:
        read_local_file("file:/proc/self/mem")  # Linux answers EIO, as a bad sector does
    assert caught.value.reason == "unreadable"


def test_a_file_too_large_for_a_row_is_refused_unread(tmp_path):
    huge = tmp_path / "huge.png"
    huge.write_bytes(png(picture(0)))
    os.truncate(huge, 2**31)  # sparse
    with pytest.raises(RejectedImageError) as caught:
        read_local_file(huge.as_uri())
    assert caught.value.reason == "too_large"


def test_of_a_file_that_is_no_image_only_the_first_bytes_are_read(tmp_path):
    film = tmp_path / "film.bin"
    film.write_bytes(b"0" * 1_000_000)
    assert len(read_local_file(film.as_uri())) < 1000


@pytest.fixture
def refusals(monkeypatch):
    """An S3 that answers every request for s3://bucket/CODE with that error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code = self.path.partition("?")[0].rpartition("/")[2]
            body = f"<Error><Code>{code}</Code><Message>said {code}</Message></Error>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """No line for each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        yield
        server.shutdown()


def test_one_object_without_the_right_to_read_it_is_rejected(refusals):
    with pytest.raises(RejectedImageError) as caught:
        read_remote_file("s3://bucket/AccessDenied")
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    "code",
    ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"],
)
def test_keys_that_are_refused_reject_no_image(refusals, code):
    with pytest.raises(CredentialsError, match=rf"s3://bucket/{code}.*AWS_ACCESS_KEY_ID"):
        read_remote_file(f"s3://bucket/{code}")
