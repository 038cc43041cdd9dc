"""Pieces that torch wrote: looked at before torch is, so that a hostile one costs neither memory nor time."""

from __future__ import annotations

import io
import math
import pickletools  # it reads pickles, and runs nothing of them # nosec B403
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown

PICKLE_BYTES = 10_000
"""A dict of two tensors takes 300; so much can neither nest too deeply nor take long."""

_LEGACY_PICKLES = 5
"""Magic number, protocol, machine, the object, its storages' keys: a file of torch before 1.6 begins with them."""

_NAMES = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter)"
    r"|torch(\.storage)? (Float|Double|Half|BFloat16|Untyped)Storage"
    r"|torch (float\w+|bfloat16)"
)
"""All that a pickle of dense tensors names; torch lets more pass, of which some only cost memory."""


def check_pth(file: Path) -> None:
    """Refuses a ``.pth`` file that holds more than a small pickle of tensors, and their data as they are.

    Raises:
        PuzzleError: it does, or is damaged.
    """
    try:
        _check_content(file)
    except Exception as error:  # a damaged or hostile file can raise anything
        raise _refusal(file, error) from error


def read_pth(file: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a ``.pth`` file that ``check_pth`` has let pass, by their names, as float32.

    Raises:
        PuzzleError: it is damaged, or holds anything else than a dict of dense floating-point tensors.
    """
    try:
        state = _load(file)
    except Exception as error:  # what torch alone notices can raise anything too
        raise _refusal(file, error) from error
    if not isinstance(state, dict):
        raise PuzzleError(f"{file}: holds a {type(state).__name__}, not a dict with 'weight' and 'bias'; save it again")
    return {str(key): _array(tensor, f"{file}: '{shown(key)}'") for key, tensor in state.items()}


def _refusal(file: Path, error: Exception) -> PuzzleError:
    if isinstance(error, OSError):
        return PuzzleError(f"{file}: cannot be read ({error.strerror}); check the file and its rights")
    return PuzzleError(
        f"{file}: is damaged, or no plain dict of tensors that loads without running code; nothing was run."
        " Copy the piece again, or save it as {'weight': …, 'bias': …}"
    )


def _check_content(file: Path) -> None:
    with file.open("rb") as content:
        head = content.read(_LEGACY_PICKLES * PICKLE_BYTES)
    if not head.startswith(b"PK\x03\x04"):
        stream = io.BytesIO(head)
        for _ in range(_LEGACY_PICKLES):
            _check_pickle(stream)
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed: torch compresses nothing")
        if sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise ValueError("holds more than there is")
        (pickle,) = (entry for entry in entries if entry.filename.lower().endswith("data.pkl"))
        if pickle.file_size > PICKLE_BYTES:
            raise ValueError("the pickle is too long")
        for entry in entries:
            if entry.CRC == 0:  # written with torch.serialization.set_crc32_options(False)
                entry.CRC = None  # type: ignore[assignment]
        _check_pickle(io.BytesIO(archive.read(pickle)))
        if archive.testzip() is not None:  # torch itself does not look at the checksums
            raise ValueError("a checksum is wrong")


def _check_pickle(stream: io.BytesIO) -> None:
    """Raises ``ValueError`` where a pickle is long, no whole one, or names anything that tensors do not need."""
    begin = stream.tell()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL" and not _NAMES.fullmatch(str(argument)):
            raise ValueError("names something else than tensors")
    if stream.tell() - begin > PICKLE_BYTES:
        raise ValueError("the pickle is too long")


def _load(file: Path) -> Any:
    import torch

    with warnings.catch_warnings():  # what torch remarks on a strange file, it then raises as well
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True)


def _array(tensor: Any, place: str) -> NDArray[np.float32]:
    import torch

    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
        raise PuzzleError(f"{place} is no dense floating-point tensor; save the piece again")
    needed = math.prod(tensor.shape) * tensor.element_size()
    if tensor.device.type != "cpu" or needed > tensor.untyped_storage().nbytes():
        raise PuzzleError(f"{place} has shape {tuple(tensor.shape)} but not its data; save the piece again")
    try:
        array: NDArray[np.float32] = tensor.detach().to(torch.float32).contiguous().numpy()
    except (RuntimeError, ValueError) as error:  # rare types, lazy negation, sizes beyond NumPy's
        raise PuzzleError(f"{place} cannot be read as float32; save the piece again") from error
    return array
