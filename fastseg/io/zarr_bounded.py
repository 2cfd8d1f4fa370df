"""Arrays of Zarr whose chunks unpack to no more than they may hold, wherever a codec stands."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import zarr
from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BytesCodec, ShardingCodec, TransposeCodec

from .zarr_sizes import unpacked


def bounded(array: Any) -> Any:
    """The same array, read with a look at what each codec unpacks."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        n_bytes = math.prod(metadata.chunks) * np.dtype(array.dtype).itemsize
        filters = metadata.filters or ()
        bound = [
            None if codec is None else _Codec(codec, n_bytes, not filters)
            for codec in (metadata.compressor, *filters)
        ]
        metadata = replace(metadata, compressor=bound[0], filters=bound[1:] or None)
    else:
        codecs = _bounded(metadata.codecs, metadata.chunk_grid.chunk_shape, array.dtype)
        metadata = replace(metadata, codecs=codecs)
    return zarr.Array(zarr.AsyncArray(metadata, array.store_path))


def _bounded(codecs: Iterable[Any], shape: tuple[int, ...], dtype: Any) -> list[Any]:
    """Codecs of a chunk of a shape, and of the chunks in it."""
    n_bytes, is_exact = math.prod(shape) * np.dtype(dtype).itemsize, True
    found: list[Any] = []
    for codec in codecs:
        if isinstance(codec, BytesBytesCodec):
            found.append(_BytesCodec(codec, n_bytes, is_exact))
            with contextlib.suppress(NotImplementedError):
                n_bytes = found[-1].compute_encoded_size(n_bytes, None)
                continue
        elif isinstance(codec, ShardingCodec):
            inner = _bounded(codec.codecs, codec.chunk_shape, dtype)
            codec = ShardingCodec(
                chunk_shape=codec.chunk_shape, codecs=inner, index_codecs=codec.index_codecs,
                index_location=codec.index_location,
            )  # fmt: skip
            found.append(codec)
        else:
            found.append(codec)
        is_exact = is_exact and isinstance(codec, (BytesCodec, TransposeCodec))
    return found


class _Codec(Codec):  # type: ignore[misc]
    """A codec of version 2."""

    codec_id = "bounded"

    def __init__(self, inner: Any, n_bytes: int, is_exact: bool) -> None:
        self._inner, self._most = inner, (n_bytes, is_exact)

    def encode(self, buf: Any) -> Any:
        return self._inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        config = {**self._inner.get_config(), "id": self._inner.codec_id}
        unpack = unpacked(self._inner, config, _bytes_of(buf), *self._most)
        return self._inner.decode(buf) if unpack is None else unpack()

    def get_config(self) -> Any:
        return self._inner.get_config()


@dataclass(frozen=True)
class _BytesCodec(BytesBytesCodec):
    """A codec of version 3 that packs bytes."""

    is_fixed_size = False

    inner: Any
    n_bytes: int
    is_exact: bool

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def compute_encoded_size(self, n_bytes: int, spec: Any) -> int:
        return int(self.inner.compute_encoded_size(n_bytes, spec))

    def evolve_from_array_spec(self, array_spec: Any) -> Self:
        return replace(self, inner=self.inner.evolve_from_array_spec(array_spec))

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        data = _bytes_of(chunk_bytes.as_numpy_array())
        unpack = unpacked(self.inner, _config(self.inner), data, self.n_bytes, self.is_exact)
        if unpack is not None:
            return chunk_spec.prototype.buffer.from_bytes(await asyncio.to_thread(unpack))
        (decoded,) = await self.inner.decode([(chunk_bytes, chunk_spec)])
        return decoded


def _config(codec: Any) -> dict[str, Any]:
    """What a codec of version 3 is, in numcodecs' words."""
    told = codec.to_dict()
    return {**told.get("configuration", {}), "id": told["name"].removeprefix("numcodecs.")}


def _bytes_of(data: Any) -> memoryview:
    values: Any = ensure_contiguous_ndarray(data).reshape(-1).view(np.uint8)
    return memoryview(values)
