"""DICOM: radiographs in.

Everything that knows a DICOM tag lives here; the rest of Hilum sees `hilum.radiograph.Radiograph`.
"""

from hilum.dicom.quiet import quiet
from hilum.dicom.reading import read_dicom

__all__ = ["quiet", "read_dicom"]
