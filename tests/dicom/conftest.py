"""Small radiographs as DICOM files in memory, in any transfer syntax, good or broken."""

import base64
import copy
import warnings
from io import BytesIO

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

# openjpeg reads HTJ2K but does not write it: 16 x 12 pixels of y * 200 + x * 37, written by
# imagecodecs 2026.3.6 (htj2k_encode, reversible).
HTJ2K_STREAM = base64.b64decode(
    "/0//UQApQAAAAAAMAAAAEAAAAAAAAAAAAAAADAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB"
    "/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH0AAf+TwAAmp/cFB3QA"
    "AMAAE0AAEwB4/gIHdABG/gMHdADAABNAABOAc/4Ay3QAIAf5AKNUAMAAFTAABVCkJBLpl+ELdQCCCxb8wCEAjLYAwAAr"
    "oAAV4AiCIAiCIN4KenpwgngAjh0dHR0d/AAY9jGB7LkA/9k="
)
HTJ2K_PIXELS = (np.mgrid[0:16, 0:12][0] * 200 + np.mgrid[0:16, 0:12][1] * 37).astype(np.uint16)


@pytest.fixture(scope="session")
def chest15():
    """Smooth structure with noise, 15 bits, odd width and height."""
    y, x = np.mgrid[0:61, 0:45]
    noise = np.random.default_rng(0).integers(0, 500, y.shape)
    return ((np.sin(y / 9) + np.cos(x / 7) + 2) * 8000 + noise).astype(np.uint16)


@pytest.fixture(scope="session")
def make_dataset():
    """Return a function: pixels and attributes to a complete, uncompressed data set.

    An attribute given as None is left out, one given as "" is present but empty.
    """

    def make(pixels, *, bits=None, **attributes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some tests write what DICOM forbids
            return _dataset(np.asarray(pixels), bits, attributes)

    return make


def _dataset(pixels, bits, attributes):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.PatientID = "P-17"
    dataset.PatientName = "Muster^Erika"
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


@pytest.fixture(scope="session")
def to_bytes():
    """Return a function: data set to the bytes of a DICOM file."""

    def write(dataset):
        dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.3")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
        stream = BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return write


@pytest.fixture(scope="session")
def make_dicom(make_dataset, to_bytes):
    """Return a function: pixels and attributes to the bytes of an uncompressed DICOM file."""
    return lambda pixels, **attributes: to_bytes(make_dataset(pixels, **attributes))


@pytest.fixture(scope="session")
def transcode(to_bytes, tmp_path_factory):
    """Return a function: data set and transfer syntax to the bytes of a DICOM file."""

    def write(dataset, syntax, **options):
        if syntax == uid.ExplicitVRBigEndian:
            dataset = copy.deepcopy(dataset)  # pydicom swaps only what it did not read itself
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            return to_bytes(dataset)
        dataset = dcmread(BytesIO(to_bytes(dataset)))
        if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
            return _transcode_with_gdcm(to_bytes(dataset), syntax, tmp_path_factory.mktemp("gdcm"))
        if syntax == uid.JPEGBaseline8Bit:
            stream = BytesIO()
            Image.fromarray(dataset.pixel_array).save(stream, "JPEG", quality=95)
            return to_bytes(wrap_frame(dataset, stream.getvalue(), syntax))
        if syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False, **options)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        return to_bytes(dataset)

    return write


def wrap_frame(dataset, frame, syntax):
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@pytest.fixture(scope="session")
def with_frame(to_bytes):
    """Return a function: data set, codestream and transfer syntax to the bytes of a file."""

    def write(dataset, frame, syntax):
        copy = dcmread(BytesIO(to_bytes(dataset)))
        return to_bytes(wrap_frame(copy, frame, syntax))

    return write


@pytest.fixture(scope="session")
def htj2k():
    """Return an HTJ2K codestream and the pixels in it."""
    return HTJ2K_STREAM, HTJ2K_PIXELS


def _transcode_with_gdcm(data, syntax, folder):
    (folder / "native").write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "native"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "coded"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "coded").read_bytes()
