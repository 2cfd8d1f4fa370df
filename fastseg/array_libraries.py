"""Arrays of other libraries: into NumPy without a copy, and results back into the caller's.

No library is imported here: an array is known by its type's methods, and the library of
an array that is given has been imported by its owner.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.backend import DTYPES, Array

# What the dimension of the channels is called in files, by the libraries that read them.
_CHANNELS = ("band", "bands", "c", "channel", "channels", "rgb", "rgba")

# Devices of DLPack whose memory NumPy can read: the CPU's, also where it is pinned.
_HOST = (1, 3, 11)
_CUDA = (2, 13)


class Caller:
    """Whoever gave an array: results are theirs in their own library and on their device.

    This one gave what is NumPy's already, or a list or a frame, and takes NumPy's arrays.
    """

    def array(self, values: Any) -> Any:
        """Result of any shape, without a copy where the library allows that."""
        return values

    def grid(self, values: Any, dropped: int | None) -> Any:
        """Result that has the axes of what was given, but for one that was ``dropped``."""
        return self.array(values)


_NUMPY = Caller()


@dataclass(frozen=True, eq=False)
class _Exchanging(Caller):
    """Gave an array of a library that exchanges arrays by DLPack."""

    given: Any

    def array(self, values: Any) -> Any:
        """See `Caller.array`; what was computed on the host goes to the caller's device."""
        library = _library(self.given)
        if type(values) is not np.ndarray or not is_on_gpu(self.given):
            return library.from_dlpack(values)
        if library.__name__.startswith("cupy"):
            with self.given.device:
                return library.asarray(values)
        return library.asarray(values, device=self.given.device)


@dataclass(frozen=True, eq=False)
class _Labelling(Caller):
    """Gave an `xarray.DataArray`, around an array of another ``owner``."""

    given: Any
    owner: Caller

    def array(self, values: Any) -> Any:
        """See `Caller.array`."""
        return self.owner.array(values)

    def grid(self, values: Any, dropped: int | None) -> Any:
        """See `Caller.grid`: with the dimensions, coordinates, attributes and name that stay."""
        image = self.given
        if dropped is not None:
            image = image.isel({image.dims[dropped]: 0}, drop=True)
        # The encoding is how a file stores the values: their type, scale and missing value.
        return image.copy(data=self.array(values)).drop_encoding()


def from_caller(values: Any, name: str) -> tuple[Any, Caller]:
    """Array of any library in NumPy, sharing its memory, and whose it is.

    What follows no protocol of arrays, such as a list or a frame, is left as it is; so are
    arrays in a GPU's memory.

    Raises
    ------
    TypeError
        If the array is on another device, or NumPy has no such type.
    """
    kind = type(values)
    if kind is np.ndarray or kind is list or isinstance(values, np.ndarray):
        return values, _NUMPY
    if is_data_array(values):
        data, owner = from_caller(values.data, name)
        return data, _Labelling(values, owner)
    if not hasattr(kind, "__dlpack__"):
        return values, _NUMPY
    return (values if is_on_gpu(values) else _by_dlpack(values, name)), _Exchanging(values)


def is_data_array(values: Any) -> bool:
    """Whether this is an `xarray.DataArray`."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(values, xarray.DataArray)


def axis_named(image: Any, channel_axis: Any) -> Any:
    """``channel_axis`` for an image whose dimensions have names, by which it may be given.

    Raises
    ------
    ValueError
        If there is no such dimension.
    """
    if not is_data_array(image) or not isinstance(channel_axis, str):
        return channel_axis
    dims = list(image.dims)
    if channel_axis in dims:
        return dims.index(channel_axis)
    if channel_axis == "auto":
        known = [i for i, dim in enumerate(dims) if str(dim).lower() in _CHANNELS]
        return known[0] if len(known) == 1 and len(dims) > 2 else channel_axis
    names = ", ".join(repr(dim) for dim in dims)
    raise ValueError(
        f"channel_axis={channel_axis!r} is no dimension of the image, whose dimensions are {names}"
    )


def like_image(mask: Any, image: Any) -> Any:
    """Mask with its dimensions in the image's order, where both have names for them.

    Raises
    ------
    ValueError
        If it has a dimension that the image has not, or lies elsewhere by its coordinates.
    """
    if not is_data_array(mask) or not is_data_array(image):
        return mask
    for dim in mask.dims:
        if dim not in image.dims:
            names = ", ".join(repr(each) for each in image.dims)
            raise ValueError(
                f"mask has the dimension {dim!r}, and the image has {names}; rename it, or give"
                " mask.values"
            )
        if _lie_apart(mask, image, dim):
            raise ValueError(
                f"mask has other coordinates along {dim!r} than the image; align the two, or"
                " give mask.values where its pixels are the image's"
            )
    return mask.transpose(*[dim for dim in image.dims if dim in mask.dims], ...)


def _lie_apart(a: Any, b: Any, dim: Any) -> bool:
    """Whether both have coordinates along a dimension, as many, and not the same."""
    if a.sizes[dim] != b.sizes[dim] or dim not in a.indexes or dim not in b.indexes:
        return False
    return not a.indexes[dim].equals(b.indexes[dim])


def is_on_gpu(values: Any) -> bool:
    """Whether this is an array in the memory of a CUDA device."""
    kind = type(values)
    if kind is np.ndarray:
        return False
    if hasattr(values, "__cuda_array_interface__"):
        return True
    # Arrays without memory, such as those that are traced, say nothing of a device.
    with contextlib.suppress(AttributeError, RuntimeError, ValueError):
        return hasattr(kind, "__dlpack_device__") and _device(values) in _CUDA
    return False


def _device(values: Any) -> int:
    return int(values.__dlpack_device__()[0])


def _by_dlpack(values: Any, name: str) -> Array:
    try:
        device = _device(values)
        if device in _HOST:
            return np.from_dlpack(values)
    except (AttributeError, BufferError, RuntimeError, ValueError) as error:
        dtype = getattr(values, "dtype", "no type")
        raise TypeError(
            f"{name} ({kind_of(values)} of {dtype}) cannot be read by DLPack: {error}; give a dense"
            f" array of numbers, of {', '.join(DTYPES)}, detached from gradients and traces"
        ) from error
    raise TypeError(
        f"{name} is on a device that is neither the CPU nor CUDA (number {device} of DLPack's);"
        " move it to the CPU"
    )


def kind_of(values: Any) -> str:
    """Type of an array in words."""
    kind = type(values)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _library(values: Any) -> Any:
    """Module with the ``from_dlpack`` of an array's library."""
    if hasattr(values, "__array_namespace__"):
        return values.__array_namespace__()
    # PyTorch and CuPy have it at the top; a subclass of their arrays may live elsewhere.
    for kind in type(values).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if hasattr(module, "from_dlpack"):
            return module
    raise TypeError(f"the library of {kind_of(values)} has no from_dlpack; convert it to NumPy")
