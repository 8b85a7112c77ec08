"""Bytes of a PNG, JPEG or DICOM file to a Radiograph, or a reason why not."""

from hilum.decoding.magic import MAGIC_BYTES, decode, sniff

__all__ = ["MAGIC_BYTES", "decode", "sniff"]
