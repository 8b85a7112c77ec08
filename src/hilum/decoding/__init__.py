"""Bytes of a PNG, JPEG or DICOM file to a Radiograph, or a reason why not."""

from hilum.decoding.magic import decode, sniff

__all__ = ["decode", "sniff"]
