"""Phantoms as files: PNG as NIH publishes its images, and DICOM as an X-ray machine sends them.

The DICOM object is a Digital X-Ray Image - For Presentation (PS3.3 A.26): 12 bits stored in 16,
a window that maps the stored range to black and white, and for a share of the patients
MONOCHROME1, so that a reader that skips the window or the inversion is found out.
"""

import io
import uuid
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from hilum.errors import require
from hilum.phantom.plan import ImageSpec

__all__ = ["encode_dicom", "encode_png"]

# Stored values of black and white; the rest of the 12 bits stays unused, as on real detectors.
_BLACK, _WHITE = 200, 3800
_MONOCHROME1_EVERY = 4
_CHEST = ("51185008", "SCT", "Chest")
_VIEWS = {
    "PA": ("399348003", "SCT", "postero-anterior"),
    "AP": ("399067008", "SCT", "antero-posterior"),
}


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return 8-bit grey PNG bytes, compressed fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode_dicom(pixels: npt.NDArray[np.uint8], spec: ImageSpec, *, seed: int = 0) -> bytes:
    """Return a DICOM file of the image; the same seed and spec give the same UIDs and bytes.

    Args:
        pixels: uint8, shape (H, W), air dark.
        spec: patient, age, sex, view and detector size.
        seed: of the PhantomConfig, so that two sets do not share UIDs.
    """
    require(pixels.dtype == np.uint8, "pixels", "uint8", pixels.dtype)
    dataset = Dataset()
    for describe in (_identify, _describe_patient, _describe_acquisition):
        describe(dataset, spec, seed)
    _put_pixels(dataset, pixels, spec)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _uid(*parts: object) -> UID:
    """UUID-derived UID (PS3.5 B.2), the same for the same parts."""
    name = "/".join(("hilum", "phantom", *map(str, parts)))
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, name).int}")


def _identify(dataset: Dataset, spec: ImageSpec, seed: int) -> None:
    image = (seed, spec.patient_id, spec.index)
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = _uid("image", *image)
    dataset.StudyInstanceUID = _uid("study", *image)
    dataset.SeriesInstanceUID = _uid("series", *image)
    dataset.StudyID = str(spec.index)
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    day = (date(2017, 1, 1) + timedelta(days=spec.index)).strftime("%Y%m%d")
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = f"{spec.patient_id:08d}{spec.index:03d}"
    dataset.ReferringPhysicianName = ""
    dataset.Manufacturer = "Hilum"
    dataset.ManufacturerModelName = "phantom"


def _describe_patient(dataset: Dataset, spec: ImageSpec, seed: int) -> None:
    dataset.PatientName = f"Phantom^{spec.patient_id:08d}"
    dataset.PatientID = str(spec.patient_id)
    dataset.IssuerOfPatientID = f"hilum phantom {seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = spec.sex
    dataset.PatientAge = f"{spec.age_years:03d}Y"


def _describe_acquisition(dataset: Dataset, spec: ImageSpec, seed: int) -> None:
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined = "CHEST"
    dataset.AnatomicRegionSequence = [_code(*_CHEST)]
    dataset.ImageLaterality = "U"
    dataset.ViewPosition = spec.view
    dataset.ViewCodeSequence = [_code(*_VIEWS[spec.view])]
    dataset.PatientOrientation = ["L", "F"]
    dataset.DetectorType = "DIRECT"
    dataset.AcquisitionContextSequence = []
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = f"synthetic, hilum phantom, seed {seed}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _put_pixels(dataset: Dataset, pixels: npt.NDArray[np.uint8], spec: ImageSpec) -> None:
    span = _WHITE - _BLACK
    stored = _BLACK + np.rint(pixels.astype(np.float64) * (span / 255))
    inverted = spec.patient_id % _MONOCHROME1_EVERY == 0
    if inverted:
        stored = 4095 - stored
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    # PS3.3 C.11.2.1.2.1: the window maps centre - 0.5 -+ (width - 1) / 2 to black and white.
    middle = (_BLACK + _WHITE) / 2
    dataset.WindowCenter = (4095 - middle if inverted else middle) + 0.5
    dataset.WindowWidth = span + 1
    spacing = f"{10 * spec.field_cm / pixels.shape[0]:.6g}"
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.PixelData = stored.astype("<u2").tobytes()
