"""Bytes of a PNG, JPEG or DICOM file to a Radiograph, or a reason why not."""

from hilum.decoding.files import read_local_file, read_remote_file
from hilum.decoding.magic import MAGIC_BYTES, decode, sniff

__all__ = ["MAGIC_BYTES", "decode", "read_local_file", "read_remote_file", "sniff"]
