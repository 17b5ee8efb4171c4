"""Reading image files: which, how large, how turned, on what background."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import zlib

import numpy as np
import pytest

from handgrad.data import ImageFolder, read_image
from handgrad.data.images import image_size
from handgrad.errors import ArgumentError, DataError, HandgradError

Image = pytest.importorskip("PIL.Image")

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""By orientation, what makes pixels upright (TIFF 6.0, page 36: where row 0 and column 0 are)."""

ORIENTATION = 0x0112
READS = "BMP, GIF, JPEG, PNG, PNM, TIFF and WebP can be read"


def noise(mode, size=(6, 8), seed=0):
    """Return an image of random pixels."""
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size).astype(np.uint16))
    if mode == "I;16B":
        return Image.frombytes(mode, size[::-1], rng.integers(0, 65536, size).astype(">u2").tobytes())
    if mode == "I":
        return Image.fromarray(rng.integers(0, 65536, size).astype(np.int32))
    colour = Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    if mode in ("RGBA", "LA"):
        colour.putalpha(Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)))
    return colour.convert(mode)


def encoded(image, kind, orientation=None, **options):
    """Return the bytes of an image file."""
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options |= {"tiffinfo": {ORIENTATION: orientation}} if kind == "TIFF" else {"exif": exif}
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


TIFF_MODES = ("1", "L", "P", "I;16", "I;16B", "I", "RGB", "RGBA", "LA", "CMYK")
PACKED = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
TIFFS = [
    *((mode, packed) for mode in TIFF_MODES for packed in PACKED),
    *(("1", "group4"), ("L", "jpeg"), ("RGB", "jpeg"), ("YCbCr", "raw"), ("LAB", "raw")),
]
TURNED = [
    *(("TIFF", mode, {"compression": compression}) for mode, compression in TIFFS),
    *(("PNG", mode, {}) for mode in ("1", "L", "P", "I;16", "RGB", "RGBA", "LA")),
    *(("JPEG", mode, {"quality": 95}) for mode in ("L", "RGB", "CMYK")),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
]


class TestOrientation:
    @pytest.mark.parametrize(
        ("kind", "mode", "options"),
        TURNED,
        ids=lambda v: "-".join(v.values()) if v == "compression" else str(v),
    )
    def test_of_every_format_and_mode_all_eight_are_right(self, kind, mode, options, tmp_path):
        image = noise(mode)
        plain = read_image(io.BytesIO(encoded(image, kind, **options)), mode="RGBA")
        assert plain.shape == (6, 8, 4)
        for orientation, upright in UPRIGHT.items():
            path = tmp_path / "image"
            path.write_bytes(encoded(image, kind, orientation, **options))
            wanted = upright(plain)
            np.testing.assert_array_equal(read_image(path, mode="RGBA"), wanted)
            with path.open("rb") as file:
                np.testing.assert_array_equal(read_image(file, mode="RGBA"), wanted)
            with Image.open(path) as opened:
                np.testing.assert_array_equal(read_image(opened, mode="RGBA"), wanted)
            assert image_size(path) == wanted.shape[:2]

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_one_that_means_nothing_turns_nothing(self, value):
        for kind in ("JPEG", "PNG", "TIFF"):
            assert read_image(io.BytesIO(encoded(noise("RGB"), kind, value))).shape == (6, 8, 3)

    @staticmethod
    def jpeg_beside(entries, order="<"):
        """Return a JPEG with orientation 6 and other EXIF entries before it."""
        all_ = [*entries, (ORIENTATION, 3, 1, struct.pack(f"{order}HH", 6, 0))]
        exif = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(all_))
        for tag, kind, count, value in all_:
            exif += struct.pack(f"{order}HHI", tag, kind, count) + value
        exif += bytes(4)
        content = io.BytesIO()
        noise("RGB").save(content, "JPEG", exif=b"Exif\0\0" + exif)
        return io.BytesIO(content.getvalue())

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(
        "entry",
        [
            (0x010F, 2, 2**31, b"\0\0\0\0"),  # text that is longer than the file
            (0x011A, 5, 1, b"\xff\xff\xff\xff"),  # a fraction beyond its end
            (0x8769, 4, 1, b"\xff\xff\xff\x7f"),  # a directory beyond its end
            (0x8769, 7, 3, b"abc\0"),  # a directory that is none
            (0x8825, 2, 4, b"abcd"),
            (0xA005, 12, 5, b"et\xa9&"),
            (0x9003, 0, 0, b"\0\0\0\0"),
            (0x927C, 13, 100, b"h\xb3\xb5\x89"),
            (0x0132, 65535, 2**32 - 1, b"\xff\xff\xff\xff"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_a_damaged_tag_beside_it_is_no_hindrance(self, entry, order):
        assert read_image(self.jpeg_beside([entry], order)).shape == (8, 6, 3)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_random_tags_beside_it_are_no_hindrance(self):
        rng = random.Random(0)
        tags = (271, 0x8769, 0x8825, 0xA005, 282, 306, 37500)
        for _ in range(200):
            entries = [
                (
                    rng.choice([*tags, rng.randrange(1, 65536)]),
                    rng.choice([0, 1, 2, 3, 4, 5, 7, 9, 10, 12, 13, 16, 300]),
                    rng.choice([0, 1, 2, 5, 100, 2**31, 2**32 - 1]),
                    rng.randbytes(4),
                )
                for _ in range(rng.randrange(1, 4))
            ]
            assert read_image(self.jpeg_beside(entries)).shape == (8, 6, 3), entries


class TestFormats:
    @pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
    def test_those_that_are_meant_are_read_whatever_their_name(self, kind, tmp_path):
        path = tmp_path / "image.dat"
        path.write_bytes(encoded(noise("RGB"), kind))
        assert read_image(path).shape == (6, 8, 3)

    def test_postscript_runs_no_program(self, tmp_path, monkeypatch):
        started = []
        monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: started.append(a))
        monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
        path = tmp_path / "e.png"
        path.write_bytes(encoded(noise("RGB"), "EPS"))
        with pytest.raises(DataError) as error:
            read_image(path)
        assert str(error.value) == (
            f"{path}: expected an image that can be read, got a PostScript (EPS) file; {READS}"
        )
        assert started == []

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("DDS", "a DDS image"),
            ("ICO", "an ICO image"),
            ("JPEG2000", "a JPEG 2000 image"),
            ("PDF", "a PDF document"),
            ("TGA", "something else"),
        ],
    )
    def test_others_are_refused_by_name(self, kind, name, tmp_path):
        path = tmp_path / "a.png"
        try:
            path.write_bytes(encoded(noise("RGB", (16, 16)), kind))
        except OSError:
            pytest.skip(f"this Pillow writes no {kind}")
        with pytest.raises(DataError) as error:
            read_image(path)
        assert str(error.value) == f"{path}: expected an image that can be read, got {name}; {READS}"

    def test_one_whose_beginning_alone_is_whole_is_damaged(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"II*\0" + bytes(20))
        with pytest.raises(DataError, match=r"got a TIFF image that is damaged$"):
            read_image(path)

    def test_a_folder_is_named_as_one(self, tmp_path):
        with pytest.raises(DataError, match="expected an image that can be read, got Is a directory"):
            read_image(tmp_path)

    def test_a_pillow_image_is_read_and_left_as_it_is(self):
        image = noise("RGB")
        before = image.tobytes()
        np.testing.assert_array_equal(read_image(image), np.asarray(image) / np.float32(255))
        assert read_image(image, (3, 3), mode="L").shape == (3, 3, 1)
        assert image.tobytes() == before

    def test_the_frame_of_a_pillow_image_is_read_that_it_is_at(self, tmp_path):
        frames = [noise("L", seed=seed) for seed in range(3)]
        frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
        with Image.open(tmp_path / "a.tif") as image:
            image.seek(2)
            np.testing.assert_array_equal(
                read_image(image, mode="L")[..., 0], np.asarray(frames[2]) / np.float32(255)
            )

    @pytest.mark.parametrize("value", [np.zeros((4, 4, 3)), 5, None, ["a.png"]])
    def test_what_is_no_image_is_refused(self, value):
        do = "; an array is read already: divide bytes by 255" if isinstance(value, np.ndarray) else ""
        with pytest.raises(ArgumentError) as error:
            read_image(value)
        assert str(error.value) == (
            f"read_image: expected a path, a binary file or a Pillow image, got {type(value).__name__}{do}"
        )

    @pytest.mark.parametrize("size", [0, (3,), "3", (2.0, 2)])
    def test_a_size_that_means_nothing_is_refused(self, size):
        with pytest.raises(ArgumentError, match=r"^read_image size: expected an int or a pair of ints"):
            read_image(noise("L"), size)


def png_of(height, width):
    """Return a PNG of black that is small as a file and large as an image."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class TestSize:
    def test_is_looked_at_before_pixels_are_decoded(self, tmp_path, monkeypatch):
        path = tmp_path / "large.png"
        path.write_bytes(png_of(3000, 2000))
        assert path.stat().st_size < 20_000

        def decoded(*_):
            raise AssertionError("decoded")

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
        with pytest.raises(DataError) as error:
            read_image(path, (8, 8), max_pixels=5_999_999)
        assert str(error.value) == (
            f"{path}: expected an image of at most 5,999,999 pixels, got one of 3,000x2,000; "
            "raise max_pixels where you trust it"
        )
        assert image_size(path) == (3000, 2000)
        with Image.open(path) as image:
            with pytest.raises(DataError, match="got one of 3,000x2,000"):
                read_image(image, max_pixels=5_999_999)
            assert image_size(image) == (3000, 2000)

    def test_has_a_limit_that_can_be_raised(self, tmp_path):
        path = tmp_path / "large.png"
        path.write_bytes(png_of(300, 200))
        assert read_image(path, max_pixels=60_000).shape == (300, 200, 3)
        with pytest.raises(DataError):
            read_image(path, max_pixels=59_999)
        with pytest.raises(ArgumentError, match="max_pixels to be a whole number of at least 1"):
            read_image(path, max_pixels=0)

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_is_limited_by_default(self, tmp_path):
        path = tmp_path / "large.ppm"
        path.write_bytes(b"P5 13300 13300 255\n")
        with pytest.raises(DataError, match="got one of 13,300x13,300"):
            read_image(path)

    def test_of_a_folders_images_has_the_same_limit(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "large.png").write_bytes(png_of(300, 200))
        assert ImageFolder(tmp_path, 4, max_pixels=60_000).batch(np.array([0]))[0].shape == (1, 4, 4, 3)
        with pytest.raises(DataError, match="expected an image of at most 100 pixels, got one of 300x200"):
            ImageFolder(tmp_path, 4, max_pixels=100).batch(np.array([0]))


class TestTransparency:
    """What is transparent shows white, in every way that files have to say so."""

    BLACK_ON_NOTHING = np.array([[[0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_black_on_nothing_is_black_on_white(self, kind, mode):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(Image.fromarray(self.BLACK_ON_NOTHING), kind, **options)
        assert read_image(io.BytesIO(content), mode=mode)[..., 0].tolist() == [[0, 1]]

    def test_of_grey_with_opacity(self):
        image = Image.fromarray(self.BLACK_ON_NOTHING).convert("LA")
        assert read_image(io.BytesIO(encoded(image, "PNG")), mode="L")[..., 0].tolist() == [[0, 1]]

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_of_a_palette(self, kind):
        image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        content = encoded(image, kind, transparency=1)
        assert read_image(io.BytesIO(content))[..., 0].tolist() == [[0, 1]]

    @pytest.mark.parametrize("mode", ["L", "1", "RGB", "I;16"])
    def test_of_one_colour(self, mode):
        if mode == "I;16":
            image = Image.fromarray(np.array([[257, 5 * 257]], np.uint16))
        else:
            image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode)
        clear = {"RGB": (0, 0, 0), "I;16": 257}.get(mode, 0)
        image.info["transparency"] = clear
        x = read_image(image, mode="L")[..., 0]
        assert x[0, 0] == 1
        assert read_image(image, mode="RGBA")[0, 0, 3] == 0
        if mode != "I;16":
            content = io.BytesIO(encoded(image, "PNG", transparency=clear))
            np.testing.assert_array_equal(read_image(content, mode="L")[..., 0], x)

    def test_halves_are_mixed(self):
        image = Image.fromarray(np.array([[[0, 0, 0, 128], [255, 0, 0, 51]]], np.uint8))
        np.testing.assert_allclose(read_image(image)[0], [[127 / 255] * 3, [1, 0.8, 0.8]], atol=0.5 / 255)

    def test_opaque_pixels_keep_their_values(self):
        colour = noise("RGB")
        opaque = colour.copy()
        opaque.putalpha(255)
        for mode in ("RGB", "L"):
            np.testing.assert_array_equal(read_image(opaque, mode=mode), read_image(colour, mode=mode))

    def test_stays_where_it_is_asked_for(self):
        image = Image.fromarray(self.BLACK_ON_NOTHING)
        assert read_image(image, mode="RGBA").tolist() == [[[0, 0, 0, 1], [0, 0, 0, 0]]]


SEEDS = [
    *(("PNG", mode, {}) for mode in ("RGB", "P", "LA", "1", "I;16")),
    *(("TIFF", *case) for case in (("RGB", {}), ("I;16", {}), ("L", {"compression": "tiff_lzw"}))),
    *(("TIFF", *case) for case in (("1", {"compression": "group4"}), ("RGB", {"compression": "jpeg"}))),
    *(("JPEG", *case) for case in (("RGB", {}), ("L", {"progressive": True}))),
    *(("WEBP", *case) for case in (("RGB", {}), ("RGBA", {"lossless": True}))),
]
PLAIN = [("GIF", "P", {}), ("BMP", "RGB", {}), ("BMP", "P", {}), ("PPM", "RGB", {}), ("PPM", "1", {})]


def mutated(content, rng):
    """Return a file with a few bytes altered, added, left out or cut off, often near its beginning."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 80))
        how, order = rng.randrange(6), rng.choice("<>")
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            number = rng.choice([0, 1, 40_000, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
            data[at : at + 4] = struct.pack(f"{order}I", number)
        elif how == 2:
            data[at : at + 2] = struct.pack(f"{order}H", rng.choice([0, 1, 2, 32768, 65535]))
        elif how == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif how == 4 and len(data) > 20:
            del data[at : at + rng.randrange(1, 9)]
        elif len(data) > 100:
            del data[max(at, 20) :]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_refused():
    rng, refused = random.Random(0), 0
    seeds = [encoded(noise(mode, (17, 13)), kind, 6, **options) for kind, mode, options in SEEDS]
    seeds += [encoded(noise(mode, (17, 13)), kind, **options) for kind, mode, options in PLAIN]
    for _ in range(600):
        content = mutated(rng.choice(seeds), rng)
        for read in (image_size, read_image):
            try:
                read(io.BytesIO(content), **({"max_pixels": 10**6} if read is read_image else {}))
            except HandgradError:
                refused += 1
    assert 300 < refused < 1100
