"""Pieces that torch wrote, read without it: a small pickle that names tensors, and their data as they are.

The file may be hostile, so Python's own unpickler never sees it: a pickle is interpreted here, which has to be short
and to hold nothing but the opcodes of dicts and tensors. It runs nothing, and costs neither memory nor time.
"""

from __future__ import annotations

import io
import math
import pickletools  # it reads pickles, and runs nothing of them # nosec B403
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairing.errors import PuzzleError, shown
from pairing.io.floats import BYTES, as_float32

PICKLE_BYTES = 10_000
"""A dict of two tensors takes 300; so much can neither nest too deeply nor take long."""
WHOLE_PICKLE_BYTES = 2_000_000
"""Of a whole model: each tensor takes about 150. Reading so much takes a second."""

_LEGACY_PICKLES = 5
"""Magic number, protocol, machine, the object, its storages' keys: a file of torch before 1.6 begins with them."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class _StrangerError(ValueError):
    """The pickle names something else than tensors."""


def read_pth(file: Path, whole: bool = False) -> dict[str, NDArray[np.float32]]:
    """The tensors in a ``.pth`` file by their names, as float32; names without one (``'bias': None``) are left out.

    Only where a ``whole`` model is expected may there be thousands.

    Raises:
        PuzzleError: it is damaged, or holds anything else than a dict of dense floating-point tensors.
    """
    try:
        most = WHOLE_PICKLE_BYTES if whole else PICKLE_BYTES
        state, data, order = _read_zip(file, most) if zipfile.is_zipfile(file) else _read_legacy(file, most)
    except _StrangerError as error:
        raise PuzzleError(
            f"{file}: is a pickled object ({shown(error)}) and not a plain dict of tensors; loading it could run code,"
            " so nothing was run. Where it is a module, save its state dict: torch.save(module.state_dict(), …)"
        ) from error
    except OSError as error:
        raise PuzzleError(f"{file}: cannot be read ({error.strerror}); check the file and its rights") from error
    except Exception as error:  # a damaged or hostile file can raise anything
        raise PuzzleError(
            f"{file}: is damaged, or not a plain dict of tensors that loads without running code; nothing was run."
            " Copy the piece again, or save it as {'weight': …, 'bias': …}"
        ) from error
    if not isinstance(state, dict):
        what = "bare tensor" if isinstance(state, _Tensor) else type(state).__name__
        raise PuzzleError(
            f"{file}: holds a {what}, not a dict with 'weight' and 'bias';"
            " save a layer's state dict: torch.save(layer.state_dict(), …)"
        )
    return {k: _array(t, data, order, f"{file}: '{shown(k)}'") for k, t in state.items() if t is not None}


# --- the two layouts


def _read_zip(file: Path, most: int) -> tuple[Any, dict[str, bytes], str]:
    """What the pickle makes, the storages' bytes by their keys, and their byte order."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed: torch compresses nothing")
        if sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise ValueError("holds more than there is")
        for entry in entries:
            if entry.CRC == 0:  # written with torch.serialization.set_crc32_options(False)
                entry.CRC = None  # type: ignore[assignment]
        contents = {entry.filename: archive.read(entry) for entry in entries}
    (name,) = (name for name in contents if name.rpartition("/")[2] == "data.pkl")
    folder = name.removesuffix("data.pkl")
    order = ">" if contents.get(f"{folder}byteorder") == b"big" else "<"
    data = f"{folder}data/"
    return (
        _unpickled(io.BytesIO(contents[name]), most),
        {name.removeprefix(data): content for name, content in contents.items() if name.startswith(data)},
        order,
    )


def _read_legacy(file: Path, most: int) -> tuple[Any, dict[str, bytes], str]:
    """The same of a file of torch before 1.6: five pickles, then each storage's length and data."""
    with file.open("rb") as content:
        head = io.BytesIO(content.read(_LEGACY_PICKLES * most))
        if _unpickled(head, most) != _LEGACY_MAGIC:
            raise ValueError("is no file of torch")
        _, machine, state, keys = (_unpickled(head, most) for _ in range(_LEGACY_PICKLES - 1))
        if not isinstance(state, dict):
            return state, {}, "<"
        little = machine["little_endian"]
        storages = {tensor.storage.key: tensor.storage for tensor in state.values() if isinstance(tensor, _Tensor)}
        data = {}
        content.seek(head.tell())
        for key in map(_text, keys):
            size = int.from_bytes(content.read(8), "little" if little else "big") * storages[key].itemsize
            if size > file.stat().st_size:
                raise ValueError("cut short")
            data[key] = content.read(size)
    return state, data, "<" if little else ">"


def _array(tensor: Any, data: dict[str, bytes], order: str, place: str) -> NDArray[np.float32]:
    if not isinstance(tensor, _Tensor) or tensor.kind not in BYTES:
        raise PuzzleError(f"{place} is not a dense floating-point tensor; save the piece again")
    content = data.get(tensor.storage.key, b"")
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    numbers = len(content) // BYTES[tensor.kind]
    size = math.prod(tensor.shape)
    if size > numbers or (size and tensor.offset + steps >= numbers):
        raise PuzzleError(f"{place} has shape {tensor.shape} but not its data; save the piece again")
    try:
        if size == 0:
            return np.empty(tensor.shape, np.float32)
        flat = as_float32(content, tensor.kind, order)[tensor.offset :]
        strides = [stride * flat.itemsize for stride in tensor.strides]
        return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides).copy()
    except ValueError as error:  # sizes beyond NumPy's, or half a number
        raise PuzzleError(f"{place} cannot be read as float32; save the piece again") from error


# --- the pickle


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str

    @property
    def itemsize(self) -> int:
        return BYTES.get(self.kind, 1)


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Named:
    """What a pickle may name: a type of numbers, or a function with its stand-in."""

    kind: str = ""
    call: Callable[..., Any] | None = None


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *others: Any, kind: str = ""
) -> _Tensor:
    flags = others[2:]  # after requires_grad and hooks: conjugation and negation yet to be done
    whole = all(type(number) is int and 0 <= number < 1 << 63 for number in (offset, *shape, *strides))
    if not isinstance(storage, _Storage) or not whole or not len(strides) == len(shape) <= 64 or any(flags):
        raise ValueError("no plain tensor")
    return _Tensor(storage, kind or storage.kind, offset, tuple(shape), tuple(strides))


def _tensor_of_kind(*arguments: Any) -> _Tensor:
    *first, kind = arguments[:7]
    return _tensor(*first, *arguments[7:], kind=kind.kind)


def _empty_dict() -> dict[str, Any]:
    return {}


def _first(tensor: Any, *_: Any) -> Any:
    return tensor


def _of_type(function: _Named, _: Any, arguments: tuple[Any, ...], *__: Any) -> Any:
    return _called(function, arguments)


def _called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Named) or function.call is None:
        raise ValueError("calls what is no function")
    return function.call(*arguments)


_STORAGES = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16"}

_NAMES: dict[str, _Named] = {
    "collections.OrderedDict": _Named(call=_empty_dict),
    "torch._utils._rebuild_tensor": _Named(call=_tensor),
    "torch._utils._rebuild_tensor_v2": _Named(call=_tensor),
    "torch._utils._rebuild_tensor_v3": _Named(call=_tensor_of_kind),
    "torch._utils._rebuild_parameter": _Named(call=_first),
    "torch._utils._rebuild_parameter_with_state": _Named(call=_first),
    "torch._tensor._rebuild_from_type_v2": _Named(call=_of_type),
    "torch.Tensor": _Named(),
    "torch.nn.parameter.Parameter": _Named(),
    "torch.storage.UntypedStorage": _Named(kind="untyped"),
    **{f"torch.{name}Storage": _Named(kind=kind) for name, kind in _STORAGES.items()},
    **{f"torch.{kind}": _Named(kind=kind) for kind in BYTES},
}
"""All that a pickle of dense floating-point tensors names."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _named(name: str) -> _Named:
    if name not in _NAMES:
        raise _StrangerError(name)
    return _NAMES[name]


def _unpickled(stream: io.BytesIO, most: int) -> Any:
    """What the pickle at the stream's place makes; the stream is behind it then.

    Raises:
        _StrangerError: it names something that no tensor needs.
        Exception: of any kind, where it is damaged or hostile.
    """
    machine, begin = _Machine(), stream.tell()
    for opcode, argument, at in pickletools.genops(stream):
        if (at or 0) - begin > most:
            raise ValueError("too long")
        if opcode.name == "STOP":
            break
        _STEPS[opcode.name](machine, argument)
    return machine.stack.pop()


class _Machine:
    """A pickle's stack, marks and memo. It hashes texts and numbers alone: a tuple's hash can take for ever."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self._marks.append(len(self.stack))

    def _above_mark(self) -> list[Any]:
        begin = self._marks.pop()
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def tuple_of_marked(self, _: Any) -> None:
        self.push(tuple(self._above_mark()))

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.stack.pop() for _ in range(count)][::-1]))

    def append(self, value: Any) -> None:
        self.stack[-1].append(value)

    def appends(self, _: Any) -> None:
        values = self._above_mark()
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.stack[-1][_text(key)] = value

    def set_marked(self, _: Any) -> None:
        self.set_items(self._above_mark())

    def set_one(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def put(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.push(self._memo[place])

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(_named(f"{_text(module)}.{_text(name)}"))

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.push(_called(function, arguments))

    def storage(self, _: Any) -> None:
        _tag, kind, key, *_others = self.stack.pop()
        if not isinstance(kind, _Named):
            raise ValueError("no storage")
        self.push(_Storage(_text(key), kind.kind))


_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda *_: None),
    **dict.fromkeys(
        ["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"], _Machine.push
    ),
    "MARK": _Machine.mark,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "TUPLE": _Machine.tuple_of_marked,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append(machine.stack.pop()),
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_one,
    "SETITEMS": _Machine.set_marked,
    "MEMOIZE": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": lambda machine, name: machine.push(_named(name.replace(" ", "."))),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": lambda machine, _: machine.stack.pop(),  # an OrderedDict's attributes
    "BINPERSID": _Machine.storage,
}
"""What the opcodes of dicts and tensors do, up to protocol 5; all others are refused."""
