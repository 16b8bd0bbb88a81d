"""What bytes are: kinds of files by how they begin, MPEG frames by how they follow each other, and what no raw sound is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

ENOUGH_BYTES = 4096
"""of a stream's beginning: more tells nothing new"""
N_FRAMES = 4
"""of MPEG sound, one after the other, cannot be chance; fewer do where no more bytes are there"""
HEADER_BYTES = 6
"""of a frame, which tell its length"""
LOUD_NOISE, LIKENESS = 0.45, 0.25
"""Compressed bytes, read as samples, are as loud as uniform noise (0.577 of full scale), and no sample is like the next."""
MOSTLY = 0.9
"""of a text's letters can be printed"""
LEAST_SAMPLES = 1024
"""to tell noise by"""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    """for messages"""
    is_sound: bool = True
    """It may hold sound, which soundfile or ffmpeg can decode."""
    is_streamable: bool = False
    """It can be decoded from a pipe, without its end."""


WAV = Kind("WAV")
MP3, AAC = Kind("MP3", is_streamable=True), Kind("AAC", is_streamable=True)
TEXT = Kind("text", is_sound=False)
COMPRESSED = Kind("compressed or encrypted data", is_sound=False)

BEGINNINGS: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"fLaC", Kind("FLAC", is_streamable=True)),
    (0, b"OggS", Kind("Ogg", is_streamable=True)),
    (0, b"ID3", MP3),
    (0, b"\x1aE\xdf\xa3", Kind("WebM", is_streamable=True)),
    (0, b"ADIF", AAC),
    (0, b"#!AMR", Kind("AMR", is_streamable=True)),
    (0, b"0&\xb2u\x8ef\xcf\x11", Kind("WMA", is_streamable=True)),
    (0, b"FLV\x01", Kind("FLV", is_streamable=True)),
    (0, b"FORM", Kind("AIFF")),
    (0, b"\x7f\xfe\x80\x01", Kind("DTS", is_streamable=True)),
    (0, b".snd", Kind("AU")),
    (0, b"dns.", Kind("AU")),
    (0, b"caff", Kind("CAF")),
    (0, b"RIFX", Kind("big-endian WAV")),
    (0, b"riff\x2e\x91\xcf\x11", Kind("W64")),
    *((4, name, Kind("MP4 (M4A)")) for name in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free")),
    (0, b"MAC ", Kind("Monkey's Audio")),
    (0, b"wvpk", Kind("WavPack")),
    (0, b"TTA1", Kind("True Audio")),
    (0, b"MPCK", Kind("Musepack")),
    (0, b"MP+", Kind("Musepack")),
    (0, b"DSD ", Kind("DSF")),
    (0, b"FRM8", Kind("DSDIFF")),
    (0, b".RMF", Kind("RealMedia")),
    (0, b".ra\xfd", Kind("RealAudio")),
    (0, b"\x00\x00\x01\xba", Kind("MPEG")),
    (0, b"NIST_1A\n", Kind("NIST SPHERE")),
    (0, b"Creative Voice File", Kind("VOC")),
    (0, b"#!SILK", Kind("SILK", is_sound=False)),
    (1, b"#!SILK", Kind("SILK", is_sound=False)),
    (0, b"MThd", Kind("MIDI", is_sound=False)),
    (0, b"\x1f\x8b\x08", Kind("gzip", is_sound=False)),
    (0, b"PK\x03\x04", Kind("ZIP", is_sound=False)),
    (0, b"\xfd7zXZ\x00", Kind("xz", is_sound=False)),
    (0, b"BZh", Kind("bzip2", is_sound=False)),
    (0, b"\x28\xb5\x2f\xfd", Kind("Zstandard", is_sound=False)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7-Zip", is_sound=False)),
    (0, b"Rar!\x1a\x07", Kind("RAR", is_sound=False)),
    (257, b"ustar", Kind("tar", is_sound=False)),
    (0, b"%PDF-", Kind("PDF", is_sound=False)),
    (0, b"\x89PNG\r\n", Kind("a picture", is_sound=False)),
    (0, b"\xff\xd8\xff", Kind("a picture", is_sound=False)),
    (0, b"GIF8", Kind("a picture", is_sound=False)),
    (0, b"\x7fELF", Kind("a program", is_sound=False)),
    (0, b"SQLite format 3\x00", Kind("a data base", is_sound=False)),
)
"""(place, bytes there, kind); names and layouts: https://www.garykessler.net/library/file_sigs.html"""
MPEG_TS = Kind("MPEG-TS", is_streamable=True)
TS_BYTES, TS_MARK = 188, 0x47
"""of each packet of MPEG-TS, and its first byte"""
LONGEST_BEGINNING = 16
"""Bytes that tell most kinds: a stream of fewer may yet become one."""


def recognize(head: bytes) -> Kind | None:
    """Name the kind of file that begins with `head`; None for what may be raw samples."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        form = head[8:12]
        return WAV if b"WAVE".startswith(form) else Kind(f"RIFF of the kind {form.decode('latin-1')!r}")
    for place, bytes_, kind in BEGINNINGS:
        if head[place : place + len(bytes_)] == bytes_:
            return kind
    if len(head) > 2 * TS_BYTES and {head[0], head[TS_BYTES], head[2 * TS_BYTES]} == {TS_MARK}:
        return MPEG_TS
    return frames_at(head, 0)


def frames_at(head: bytes, first: int) -> Kind | None:
    """Tell whether frames of MP3 or AAC follow each other from a byte on."""
    for kind, measure in ((MP3, _mpeg_frame), (AAC, _adts_frame), (AAC, _loas_frame)):
        at, n_frames, form = first, 0, None
        while found := measure(head, at):
            if form not in (None, found[1]):
                break
            at, n_frames, form = at + found[0], n_frames + 1, found[1]
            if n_frames == N_FRAMES or (n_frames >= (2 if not first else 3) and at + HEADER_BYTES > len(head)):
                return kind
    return None


def hidden_kind(head: bytes) -> Kind | None:
    """Name what a beginning is that no mark tells: frames of MP3 or AAC behind a part of one, text, compressed bytes."""
    for first in _places(head):
        if kind := frames_at(head, first):
            return kind
    if is_text(head):
        return TEXT
    return COMPRESSED if is_noise(head) else None


def is_text(head: bytes) -> bool:
    """Whether bytes are text, which no samples are."""
    if len(head) < LONGEST_BEGINNING or b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as fault:
        if fault.start < len(head) - 4:
            return False
        text = head[: fault.start].decode("utf-8")
    return sum(letter.isprintable() or letter.isspace() for letter in text) >= MOSTLY * len(text)


def is_noise(head: bytes) -> bool:
    """Whether 16-bit samples are noise at full scale, as compressed bytes are and no microphone gives."""
    samples = np.frombuffer(head[: len(head) // 2 * 2], "<i2").astype(np.float64) / 2**15
    if len(samples) < LEAST_SAMPLES:
        return False
    power = float(np.mean(samples**2))
    return power > LOUD_NOISE**2 and abs(float(np.mean(samples[1:] * samples[:-1]))) < LIKENESS * power


def _places(head: bytes) -> Iterator[int]:
    """List where a frame may begin."""
    for mark in (b"\xff", b"\x56"):
        at = head.find(mark)
        while at >= 0:
            yield at
            at = head.find(mark, at + 1)


Measure = Callable[[bytes, int], tuple[int, bytes] | None]

KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""(MPEG version, layer) -> bit rates by index, from 1; layer 3 of version 2 has those of layer 2"""
RATES = (44_100, 48_000, 32_000)


def _mpeg_frame(head: bytes, at: int) -> tuple[int, bytes] | None:
    """Read the header of an MPEG sound frame (ISO 11172-3): its bytes, and what all frames of a stream share."""
    if len(head) < at + 4 or head[at] != 0xFF or head[at + 1] & 0xE0 != 0xE0:
        return None
    version = {0: 4, 2: 2, 3: 1}.get(head[at + 1] >> 3 & 3)  # 4 stands for MPEG 2.5
    layer = 4 - (head[at + 1] >> 1 & 3)
    rate_index, kbit_index = head[at + 2] >> 2 & 3, head[at + 2] >> 4
    if version is None or layer == 4 or rate_index == 3 or kbit_index in (0, 15):
        return None
    kbits = KBITS[min(version, 2), layer if version == 1 else min(layer, 2)][kbit_index - 1]
    rate, padding = RATES[rate_index] // version, head[at + 2] >> 1 & 1
    if layer == 1:
        n_bytes = (12_000 * kbits // rate + padding) * 4
    else:
        n_bytes = (72_000 if layer == 3 and version > 1 else 144_000) * kbits // rate + padding
    return n_bytes, bytes([head[at + 1] & 0xFE, head[at + 2] & 0x0C])


def _adts_frame(head: bytes, at: int) -> tuple[int, bytes] | None:
    """Read the header of an AAC frame in ADTS (ISO 13818-7, 6.2): its bytes, and what all frames share."""
    if len(head) < at + 6 or head[at] != 0xFF or head[at + 1] & 0xF6 != 0xF0 or head[at + 2] >> 2 & 15 > 12:
        return None
    n_bytes = (struct.unpack_from(">I", head, at + 2)[0] >> 5) & 0x1FFF
    return (n_bytes, head[at + 1 : at + 3]) if n_bytes > 7 else None


def _loas_frame(head: bytes, at: int) -> tuple[int, bytes] | None:
    """Read the header of an AAC frame in LOAS (ISO 14496-3, 1.7): its bytes, and what all frames share."""
    if len(head) < at + 3 or head[at] != 0x56 or head[at + 1] & 0xE0 != 0xE0:
        return None
    n_bytes = (head[at + 1] & 0x1F) << 8 | head[at + 2]
    return (n_bytes + 3, b"") if n_bytes > 2 else None
