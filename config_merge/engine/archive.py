"""Packs files into a .tar.gz whose bytes depend on the files alone.

Invariant: equal files give equal bytes on every machine and with every version of zlib or Python. The
agent's checksum is the md5 of these bytes, so a compressor that packs a little better after a system
upgrade would make a whole fleet fetch and apply its configuration again. Hence the gzip stream is written
here: text goes in as stored blocks, and only runs of zeros (most of a tar's headers and padding) are
packed, each as one fixed-Huffman block (RFC 1951).
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from struct import pack

from config_merge.engine.types import Artefact, File

_BLOCK = 512
_RECORD = 20 * _BLOCK
_STORED_LIMIT = 0xFFFF
_PLAIN_NAME = re.compile(r"[\x21-\x7e]{1,99}")
# Most files of a device are those of the device before: shorter ones are remembered as packed.
_REMEMBERED_LENGTH = 8192
# RFC 1952: deflate, no flags, mtime 0, no extra flags, OS "unknown".
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_STORED_HEADER = b"\x00"
_LAST_BLOCK = b"\x03\x00"
# Shorter runs of zeros cost more as a block of their own than as they are.
_RUN = bytes(24)
# RFC 1951 section 3.2.5: (shortest run, extra bits) of length codes 257 to 285.
_LENGTHS = (
    *((3 + code, 0) for code in range(8)),
    *((((4 + code % 4) << (code // 4 - 1)) + 3, code // 4 - 1) for code in range(8, 28)),
    (258, 0),
)


def packed(files: Sequence[File]) -> Artefact:
    """The artefact of `files`, members in the given order.

    >>> packed([File("etc/banner", "0644", b"hi")]).md5
    'f4bf9acc89884f2dc73aac21d1a5f434'
    """
    return _summed(files, _archive(files))


def reissued(artefact: Artefact, issue: int) -> Artefact:
    """Return the artefact with the same files and another checksum: `issue` is where gzip keeps a time (RFC 1952).

    An agent applies what its checksum says is new, so this is how it is made to apply the same once more. Of issue 0
    the bytes are those `packed` makes.

    >>> first = packed([File("etc/banner", "0644", b"hi")])
    >>> reissued(first, 0) == first, reissued(first, 1).md5 == first.md5
    (True, False)
    """
    archive = artefact.archive
    return _summed(artefact.files, archive[:4] + pack("<I", issue) + archive[8:])


def _summed(files: Sequence[File], archive: bytes) -> Artefact:
    return Artefact(
        files=tuple(files),
        archive=archive,
        md5=hashlib.md5(archive, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(archive).hexdigest(),
    )


def _archive(files: Sequence[File]) -> bytes:
    """A gzip member (RFC 1952) that holds what `tarfile` makes of members with mtime, uid and gid 0."""
    out = [_GZIP_HEADER]
    checksum, size = 0, 0
    for file in files:
        contents = file.contents
        header, deflated_header = _member(file.path, file.mode, len(contents))
        body, deflated_body = (
            _body(contents) if len(contents) > _REMEMBERED_LENGTH else _body_remembered(contents)
        )
        out += (deflated_header, deflated_body)
        checksum = zlib.crc32(body, zlib.crc32(header, checksum))
        size += len(header) + len(body)
    end, deflated_end = _end(2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD)
    checksum = zlib.crc32(end, checksum)
    out += (deflated_end, _LAST_BLOCK, pack("<II", checksum, (size + len(end)) & 0xFFFFFFFF))
    return b"".join(out)


@lru_cache(maxsize=4096)
def _member(path: str, mode: str, size: int) -> tuple[bytes, bytes]:
    """A member's tar header, and the same deflated."""
    header = _header(path, mode, size)
    return header, deflated(header)


def _body(contents: bytes) -> tuple[bytes, bytes]:
    """A file's contents as whole blocks, and the same deflated."""
    body = contents + bytes(-len(contents) % _BLOCK)
    return body, deflated(body)


_body_remembered = lru_cache(maxsize=1024)(_body)


@lru_cache(maxsize=2 * _RECORD // _BLOCK)
def _end(size: int) -> tuple[bytes, bytes]:
    """The zeros that end a tar and fill its last record, and the same deflated."""
    return bytes(size), deflated(bytes(size))


def _header(path: str, mode: str, size: int) -> bytes:
    if _PLAIN_NAME.fullmatch(path) is None or size > 0o77777777777:
        # Long and non-ASCII names need extended headers, which are too rare to be written here.
        info = tarfile.TarInfo(path)
        info.size, info.mode = size, int(mode, 8)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    fields = (
        path.encode().ljust(100, b"\0"),
        b"%07o\0" % int(mode, 8),
        b"0000000\0" * 2,  # uid, gid
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b" " * 8,  # the checksum counts as spaces while it is computed
        b"0",  # a regular file
        bytes(100),
        b"ustar\x0000",
    )
    header = b"".join(fields).ljust(_BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def deflated(data: bytes) -> bytes:
    """`data` as deflate blocks of which none is the last: it starts and ends on a byte, so pieces can be
    joined.

    >>> text = b"text" + bytes(1000)
    >>> zlib.decompress(deflated(text) + _LAST_BLOCK, wbits=-15) == text
    True
    """
    out: list[bytes] = []
    start, header = 0, _STORED_HEADER
    while (zeros := data.find(_RUN, start)) >= 0:
        if zeros > start:
            out.append(_stored(data[start:zeros], header=header))
        start = len(data) - len(data[zeros:].lstrip(b"\0"))
        out.append(_zeros(start - zeros))
        # A run ends with the header of the stored block that follows it.
        header = b""
    if start < len(data) or not header:
        out.append(_stored(data[start:], header=header))
    return b"".join(out)


def _stored(data: bytes, *, header: bytes) -> bytes:
    """Stored blocks, byte-aligned: header, length, its complement, the bytes themselves."""
    out: list[bytes] = []
    for start in range(0, len(data) or 1, _STORED_LIMIT):
        chunk = data[start : start + _STORED_LIMIT]
        out += (header, pack("<HH", len(chunk), len(chunk) ^ _STORED_LIMIT), chunk)
        header = _STORED_HEADER
    return b"".join(out)


@lru_cache(maxsize=1024)
def _zeros(count: int) -> bytes:
    """A fixed-Huffman block of `count` (at least 4) zeros, and the three header bits of a stored block,
    aligned."""
    # Bits in stream order: not last, type 01 (low bit first), then the literal 0.
    bits = ["0", "10", "00110000"]
    left = count - 1
    while left >= 3:
        shortest, extra, code = max(
            (shortest, extra, 257 + index)
            for index, (shortest, extra) in enumerate(_LENGTHS)
            if shortest <= left
        )
        length = min(left, shortest + (1 << extra) - 1)
        bits.append(f"{code - 256:07b}" if code < 280 else f"{code - 280 + 0b11000000:08b}")
        if extra:
            bits.append(f"{length - shortest:0{extra}b}"[::-1])
        bits.append("00000")  # distance 1
        left -= length
    bits += ["00110000"] * left + ["0000000", "000"]
    stream = "".join(bits)
    padded = stream.ljust(-(-len(stream) // 8) * 8, "0")
    return int(padded[::-1], 2).to_bytes(len(padded) // 8, "little")
