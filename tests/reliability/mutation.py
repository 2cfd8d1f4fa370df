"""Files that are damaged, or made up, at random: bytes, and the parts that a format has.

A file is a tree, a dict from names to contents: of one entry, or for a folder of many. All
that is drawn comes from the generator given, so that a number names a mutant for good.
"""

import gzip
import json
import random
import re
import struct
import zlib
from collections.abc import Callable

Tree = dict[str, bytes]
Mutate = Callable[[random.Random, bytes], bytes]

_WHOLE = [0, 1, 2, 3, 4, 7, 8, 15, 16, 100, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536]
_WHOLE += [10**6, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63]
_WHOLE += [2**64 - 1, -1, -2, -128, -32768, -(2**31), -(2**63)]
_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")]


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes with one thing wrong, more often near the beginning, where headers stand."""
    if not data:
        return rng.randbytes(rng.randrange(1, 30))
    size = len(data)
    at = rng.randrange(min(size, rng.choice((24, 120, 600, size))))
    far = min(size, at + rng.choice((1, 2, 4, 8, 12, 64, size // 4 + 1)))
    new = bytearray(data)
    what = rng.randrange(10)
    if what < 2:
        new[at] ^= 1 << rng.randrange(8)
    elif what == 2:
        new[at] = rng.choice((0, 1, 2, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif what < 6:
        value, form = rng.choice(_WHOLE), rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        width = struct.calcsize(form)
        if rng.random() < 0.2 and width > 2:
            form, value = form[0] + {4: "f", 8: "d"}[width], rng.choice(_FLOATS)
            packed = b"\xff" * width if value > 1e300 and width == 4 else struct.pack(form, value)
        else:
            packed = struct.pack(form, value % 2 ** (8 * width))
        new[at : at + width] = packed
    elif what == 6:
        del new[at : len(new) if rng.random() < 0.3 else far]
    elif what == 7:
        new[at:at] = new[at:far] * rng.choice((1, 1, 2, 50))
    elif what == 8:
        other = rng.randrange(size)
        new[at:far] = new[other : other + far - at]
    else:
        new[at:far] = rng.randbytes(far - at)
    return bytes(new)


def packed_gzip(mutate: Mutate) -> Mutate:
    """What is in a gzip file mutated, or sometimes the file itself."""

    def mutated(rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.3:
            return damaged(rng, data)
        try:
            return gzip.compress(mutate(rng, gzip.decompress(data)), 1, mtime=0)
        except (OSError, EOFError, zlib.error, struct.error):
            return damaged(rng, data)

    return mutated


# PNG

_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"gAMA"]
_KINDS += [b"acTL", b"fcTL", b"fdAT", b"iCCP", b"sBIT", b"pHYs", b"CgBI"]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rng: random.Random, data: bytes) -> bytes:
    """A PNG file with something wrong in its chunks, whose checksums are right."""
    if rng.random() < 0.2:
        return damaged(rng, data)
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return damaged(rng, data)
    number, what = rng.randrange(len(chunks)), rng.randrange(8)
    kind, content = chunks[number]
    if what == 0:
        del chunks[number]
    elif what == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), (rng.choice(_KINDS), content))
    elif what == 2:
        chunks.insert(number, (rng.choice(_KINDS), rng.randbytes(rng.randrange(40))))
    elif what == 3 and kind == b"IDAT":
        try:
            chunks[number] = (kind, zlib.compress(damaged(rng, zlib.decompress(content)), 1))
        except zlib.error:
            chunks[number] = (kind, damaged(rng, content))
    elif what == 4:
        head = [i for i, (kind, _) in enumerate(chunks) if kind == b"IHDR"] or [number]
        chunks[head[0]] = (chunks[head[0]][0], damaged(rng, chunks[head[0]][1]))
    else:
        chunks[number] = (kind, damaged(rng, content))
    return _PNG + b"".join(png_chunk(*chunk) for chunk in chunks)


# TIFF

_TAGS = [254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 296, 317, 320]
_TAGS += [322, 323, 324, 325, 330, 338, 339, 347, 530, 532, 32997, 33550, 33922, 34264, 34735]
_TAGS += [34736, 34737, 42112, 42113, 34377, 50839, 51123, 65420]


def tiff(rng: random.Random, data: bytes) -> bytes:
    """A TIFF file with an entry of one of its directories changed, or simply damaged."""
    if rng.random() < 0.3 or len(data) < 16 or data[:2] not in (b"II", b"MM"):
        return damaged(rng, data)
    order, is_big = "<>"[data[:1] == b"M"], b"+" in data[2:4]
    counted, offset, width = ("Q", "Q", 8) if is_big else ("H", "I", 4)
    form = f"{order}HH{offset}{width}s"
    step, new = struct.calcsize(form), bytearray(data)
    at = struct.unpack_from(order + offset, data, width)[0]
    places = []
    for _ in range(4):
        try:
            (n,) = struct.unpack_from(order + counted, data, at)
            first = at + struct.calcsize(order + counted)
            places += [first + i * step for i in range(min(n, 100))]
            (at,) = struct.unpack_from(order + offset, data, first + n * step)
        except (struct.error, OverflowError):
            break
        if not at:
            break
    try:
        place = rng.choice(places or [0])
        code, kind, count, field = struct.unpack_from(form, data, place)
        what = rng.randrange(6)
        if what == 0:
            code = rng.choice(_TAGS)
        elif what == 1:
            kind = rng.randrange(20)
        elif what == 2:
            count = rng.choice(_WHOLE) % 2 ** (8 * width)
        elif what == 3:
            value = rng.choice((*_WHOLE, len(data) - 1, len(data)))
            field = struct.pack(order + offset, value % 2 ** (8 * width))
        elif what == 4:
            short = struct.pack(order + "H", rng.choice(_WHOLE) % 2**16)
            field = short + field[2:]
        else:
            field = damaged(rng, field)[:width].ljust(width, b"\0")
        struct.pack_into(form, new, place, code, kind, count, field)
    except struct.error:
        return damaged(rng, data)
    return bytes(new)


# Text: JSON, CSV, the header of .npy, XML

_ODD: list[object] = [None, True, False, "", ".", "..", "../../other", "/etc/passwd", "a\0b", "é\n"]
_ODD += ["x" * 5000, [], {}, [[]], [1, 2], {"a": 1}, "NaN", "uint8", "|O", ">f8", "c", "image"]
_ODD += [*_WHOLE, *_FLOATS, 10**30, 10**400, 1.5, [[0] * 3] * 3]


def _places(node: object, found: list[tuple[object, object]]) -> list[tuple[object, object]]:
    """Containers and keys of everything in a JSON document."""
    inner = node.items() if isinstance(node, dict) else ()
    inner = enumerate(node) if isinstance(node, list) else inner
    for key, value in inner:
        found.append((node, key))
        _places(value, found)
    return found


def json_text(rng: random.Random, data: bytes) -> bytes:
    """A JSON document with one of its values replaced, moved or left out."""
    if rng.random() < 0.2:
        return damaged(rng, data)
    try:
        whole = [json.loads(data)]
    except (ValueError, RecursionError):
        return damaged(rng, data)
    places = _places(whole, [])
    holder, key = rng.choice(places)
    what = rng.randrange(6)
    if what == 0 and holder is not whole:
        del holder[key]
    elif what == 1:
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name]))
    elif what == 2 and isinstance(holder, list):
        holder.extend([json.loads(json.dumps(holder[key]))] * rng.choice((1, 3, 300)))
    elif what == 3 and rng.random() < 0.1:
        depth = rng.choice((50, 2000, 100_000))
        text = json.dumps(whole[0])
        return text.replace(json.dumps(holder[key]), "[" * depth + "]" * depth, 1).encode()
    else:
        holder[key] = rng.choice(_ODD)
    return json.dumps(whole[0]).encode()


_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = [b"", b"nan", b"inf", b"-inf", b"1e999", b"-1e-400", b"0x10", b"1_0", b"True", b"'|O'"]
_WORDS += [b"\xff", b"\0", b"1" * 400, b"9" * 5000, b"..", b"(", b")", b"{", b"1,5", b'"1"', b"#"]
_WORDS += [b"\xd9\xa1", b"\xe2\x88\x921", b"1j", b" ", b"\t", b"\r", b"\n\n", b";"]


def text(rng: random.Random, data: bytes) -> bytes:
    """Text with one of its numbers replaced, or simply damaged."""
    numbers = list(_NUMBER.finditer(data))
    if rng.random() < 0.4 or not numbers:
        return damaged(rng, data)
    found = rng.choice(numbers)
    if rng.random() < 0.5:
        word = str(rng.choice((*_WHOLE, *_FLOATS))).encode()
    else:
        word = rng.choice(_WORDS)
    return data[: found.start()] + word + data[found.end() :]


def npy(rng: random.Random, data: bytes) -> bytes:
    """An array whose header says something else, of the length that is told."""
    if rng.random() < 0.3 or len(data) < 12:
        return damaged(rng, data)
    length = struct.unpack_from("<H", data, 8)[0]
    header, values = data[10 : 10 + length], data[10 + length :]
    if rng.random() < 0.3:
        words = [b"|O", b"|V8", b"<U4", b"<M8[s]", b"<c16", b">f8", b"<f2", b"|b1", b"|i1", b"<f16"]
        words += [b"<u3", b"O", b"|S0", b"<U99999999", b"[('a', '<i4')]", b"f8, f8"]
        header = re.sub(
            rb"'[<>|][^']*'", repr(rng.choice(words).decode()).encode(), header, count=1
        )
    else:
        header = text(rng, header)
    version = rng.choice(((1, "<H"), (1, "<H"), (2, "<I"), (3, "<I"), (9, "<H")))
    size = struct.pack(version[1], min(len(header), 65535))
    return b"\x93NUMPY" + bytes((version[0], 0)) + size + header + values


# Folders


def in_tree(*rules: tuple[str, Mutate]) -> Callable[[random.Random, Tree], Tree]:
    """Mutate one of the files of a tree, by the rule of the pattern that its name matches."""

    def mutated(rng: random.Random, tree: Tree) -> Tree:
        new = dict(tree)
        name = rng.choice(sorted(tree))
        # Metadata more often than the many pieces of values.
        telling = [each for each in sorted(tree) if re.search(r"json|\.z[a-z]+$", each)]
        if telling and rng.random() < 0.7:
            name = rng.choice(telling)
        if len(tree) > 1 and rng.random() < 0.05:
            del new[name]
            return new
        rule = next((mutate for pattern, mutate in rules if re.search(pattern, name)), damaged)
        new[name] = rule(rng, tree[name])
        return new

    return mutated
