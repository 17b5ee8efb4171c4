from __future__ import annotations

import sys

import numpy as np
import pytest

from handgrad.data import ImageFolder, read_image
from handgrad.errors import ArgumentError, DataError, MissingExtraError

Image = pytest.importorskip("PIL.Image")

ADVICE = 'replace or remove it, or leave such files out with ImageFolder(..., on_error="skip")'


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes: "cat" with two grey images (one in a directory below), "ant" with one in colour."""
    save(tmp_path / "cat" / "b.png", np.full((6, 6), 51))
    save(tmp_path / "cat" / "more" / "a.PNG", np.full((6, 9), 102))
    save(tmp_path / "ant" / "x.bmp", np.full((6, 6, 3), [255, 0, 51]))
    return tmp_path


def test_directories_are_classes_in_the_order_of_their_names(folder):
    data = ImageFolder(folder, 6)
    assert (len(data), data.shape, data.class_names) == (3, (6, 6, 3), ("ant", "cat"))
    assert [p.name for p in data.paths] == ["x.bmp", "b.png", "a.PNG"]
    assert data.labels.tolist() == [0, 1, 1]


def test_a_batch_has_the_order_asked_for(folder):
    x, y = ImageFolder(folder, (4, 5)).batch(np.array([2, 0, 1]))
    assert (x.shape, x.dtype, y.tolist(), y.dtype) == ((3, 4, 5, 3), np.float32, [1, 0, 1], np.int64)
    np.testing.assert_allclose(x[0], 0.4)
    np.testing.assert_allclose(x[1], np.broadcast_to([1, 0, 0.2], (4, 5, 3)))
    np.testing.assert_allclose(x[2], 0.2)


def test_images_are_read_only_when_asked_for(folder):
    (folder / "cat" / "b.png").write_bytes(b"no image at all")
    data = ImageFolder(str(folder), 6)
    assert data.batch(np.array([0, 2]))[0].shape == (2, 6, 6, 3)
    with pytest.raises(DataError) as error:
        data.batch(np.array([0, 1]))
    assert (
        str(error.value) == f"{folder / 'cat' / 'b.png'}: expected an image that can be read, got text; "
        "BMP, GIF, JPEG, PNG, PNM, TIFF and WebP can be read; " + ADVICE
    )


class TestFilesThatCannotBeRead:
    @pytest.fixture
    def broken(self, folder):
        """Return a folder with a file that is no image, and one whose pixels end too early."""
        (folder / "cat" / "c.png").write_text("<html>not found</html>")
        noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (40, 40, 3))
        save(folder / "cat" / "d.png", noise)
        whole = (folder / "cat" / "d.png").read_bytes()
        (folder / "cat" / "d.png").write_bytes(whole[:3000])
        return folder

    def test_skip_leaves_them_out_and_names_them(self, broken):
        with pytest.warns(UserWarning, match="left out") as warned:
            data = ImageFolder(broken, 6, on_error="skip")
        assert [p.name for p in data.paths] == ["x.bmp", "b.png", "a.PNG"]
        assert [p.name for p in data.skipped] == ["c.png", "d.png"]
        assert (data.labels.tolist(), data.class_names) == ([0, 1, 1], ("ant", "cat"))
        assert data.batch(np.arange(len(data)))[0].shape == (3, 6, 6, 3)
        (warning,) = warned
        message = str(warning.message)
        assert message.startswith(f"left out, as they cannot be read: {broken / 'cat' / 'c.png'} (")
        assert f"), {broken / 'cat' / 'd.png'} (" in message
        assert warning.filename == __file__

    def test_of_many_the_first_are_named(self, broken):
        for i in range(7):
            (broken / "ant" / f"{i}.png").write_text("")
        with pytest.warns(UserWarning, match=r"4\.png \([^)]*\) and 4 more$"):
            ImageFolder(broken, 6, on_error="skip")

    def test_without_any_nothing_is_said(self, folder):
        assert ImageFolder(folder, 6, on_error="skip").skipped == ImageFolder(folder, 6).skipped == ()

    def test_a_class_of_nothing_else_is_refused(self, broken):
        (broken / "ant" / "x.bmp").write_text("")
        with pytest.raises(DataError) as error:
            ImageFolder(broken, 6, on_error="skip")
        assert str(error.value) == (
            f"{broken}: expected images that can be read in every class directory, got none in ant"
        )

    def test_check_finds_what_is_no_image_without_reading_pixels(self, broken):
        data = ImageFolder(broken, 6)
        with pytest.raises(DataError) as error:
            data.check()
        assert str(error.value).startswith(
            f"{broken / 'cat' / 'c.png'}: expected an image that can be read, got "
        )
        assert str(error.value).endswith(f"; {ADVICE}")
        (broken / "ant" / "y.png").write_text("")
        with pytest.raises(DataError, match=r"y\.png: .* \(and 1 more such files\); "):
            ImageFolder(broken, 6).check()
        (broken / "ant" / "y.png").unlink()
        (broken / "cat" / "c.png").unlink()
        ImageFolder(broken, 6).check()

    def test_another_policy_is_refused(self, folder):
        with pytest.raises(ArgumentError) as error:
            ImageFolder(folder, 6, on_error="ignore")
        assert str(error.value) == "on_error: expected one of raise, skip, got 'ignore'"


def test_images_are_32_by_32_in_colour_unless_said_otherwise(folder):
    data = ImageFolder(folder)
    assert data.shape == (32, 32, 3)
    assert data.batch(np.arange(3))[0].shape == (3, 32, 32, 3)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_the_mode_sets_the_channels(folder, mode, channels):
    data = ImageFolder(folder, 6, mode=mode)
    assert data.shape == (6, 6, channels)
    assert data.batch(np.arange(3))[0].shape == (3, 6, 6, channels)


def test_hidden_and_other_files_are_passed_over(folder):
    save(folder / "cat" / ".hidden.png", np.zeros((2, 2)))
    save(folder / "cat" / ".thumbnails" / "t.png", np.zeros((2, 2)))
    save(folder / ".git" / "g.png", np.zeros((2, 2)))
    (folder / "cat" / "readme.txt").write_text("cats")
    (folder / "labels.csv").write_text("")
    data = ImageFolder(folder, 6)
    assert (len(data), data.class_names) == (3, ("ant", "cat"))


def test_a_folder_that_is_itself_hidden_is_no_matter(tmp_path):
    save(tmp_path / ".cache" / "a" / "x.png", np.zeros((2, 2)))
    assert len(ImageFolder(tmp_path / ".cache", 2)) == 1


def test_missing_and_empty_folders_are_named(folder, tmp_path):
    do = "; make one directory per class, with its images in it"
    cases = {
        tmp_path / "none": "expected a folder with one directory per class, got no such folder",
        folder / "cat" / "b.png": "expected a folder with one directory per class, got a file",
        folder / "ant": "expected one directory per class, got no directories",
    }
    for path, message in cases.items():
        with pytest.raises(DataError) as error:
            ImageFolder(path, 6)
        assert str(error.value) == f"{path}: {message}{do}"


def test_a_class_without_images_is_named(folder):
    (folder / "bee").mkdir()
    (folder / "dog").mkdir()
    with pytest.raises(DataError) as error:
        ImageFolder(folder, 6)
    assert str(error.value) == (
        f"{folder}: expected images in every class directory, got none in bee, dog; "
        "remove the directory, or add files that end in "
        ".bmp, .gif, .jpeg, .jpg, .pbm, .pgm, .png, .ppm, .tif, .tiff, .webp"
    )


@pytest.mark.parametrize("size", [0, (4,), (4, 5, 3), 2.5, "6"])
def test_a_size_that_means_nothing_is_refused(folder, size):
    with pytest.raises(
        ArgumentError, match=r"^ImageFolder size: expected an int or a pair of ints, at least 1, got "
    ):
        ImageFolder(folder, size)


def test_a_mode_that_is_not_known_is_refused(folder):
    with pytest.raises(ArgumentError) as error:
        ImageFolder(folder, 6, mode="CMYK")
    assert str(error.value) == "mode: expected one of L, RGB, RGBA, got 'CMYK'"


def test_an_image_keeps_its_own_size_and_values(tmp_path):
    pixels = np.arange(4 * 5 * 3).reshape(4, 5, 3) * 4
    save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), (pixels / 255).astype(np.float32))
    assert read_image(str(tmp_path / "a.png"), mode="L").shape == (4, 5, 1)


def test_the_centre_is_cut_out_in_the_wanted_shape(tmp_path):
    middle_lighter = np.repeat([10, 200, 200, 10], 5)[None, :].repeat(10, axis=0)  # 10 rows, 20 columns
    save(tmp_path / "a.png", middle_lighter)
    whole = read_image(tmp_path / "a.png", (10, 10), mode="L")
    np.testing.assert_array_equal(whole, np.full((10, 10, 1), 200 / 255, np.float32))
    half = read_image(tmp_path / "a.png", (5, 5), mode="L")
    np.testing.assert_array_equal(half[:, 1:4], np.full((5, 3, 1), 200 / 255, np.float32))
    tall = read_image(tmp_path / "a.png", (10, 2), mode="L")
    np.testing.assert_array_equal(tall, np.full((10, 2, 1), 200 / 255, np.float32))


def test_resizing_is_bilinear_and_smooth(tmp_path):
    board = np.indices((8, 8)).sum(axis=0) % 2 * 200
    save(tmp_path / "a.png", board)
    small = read_image(tmp_path / "a.png", (2, 2), mode="L")
    np.testing.assert_allclose(small, 100 / 255, atol=1.5 / 255)
    large = read_image(tmp_path / "a.png", (16, 16), mode="L")
    assert large.shape == (16, 16, 1)
    assert len(np.unique(large)) > 2


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png", mode="L").ravel(),
        (np.array([0, 1, 128, 255]) / 255).astype(np.float32),
    )


def test_pixels_of_another_kind_are_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.tif")
    assert str(error.value) == f"{tmp_path / 'a.tif'}: expected pixels of 8 or 16 bits, got pixels of mode F"


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    save(tmp_path / "a.png", [[0, 255]], exif=exif)
    assert read_image(tmp_path / "a.png", mode="L")[..., 0].tolist() == [[0], [1]]


def test_palettes_become_colours(tmp_path):
    Image.fromarray(np.full((2, 2, 3), [255, 0, 0], np.uint8)).quantize(4).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.gif"), np.broadcast_to(np.float32([1, 0, 0]), (2, 2, 3))
    )


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.png")
    assert str(error.value) == f"{tmp_path / 'a.png'}: expected an image file, got no such file"


@pytest.mark.parametrize("length", [0, 20, 100, 3000])
def test_a_truncated_image_is_named(tmp_path, length):
    noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (40, 40, 3))
    save(tmp_path / "a.png", noise)
    path = tmp_path / "b.png"
    path.write_bytes((tmp_path / "a.png").read_bytes()[:length])
    with pytest.raises(DataError) as error:
        read_image(path)
    assert str(error.value).startswith(f"{path}: expected an image that can be read, got ")


def test_without_pillow_the_error_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    path = folder / "cat" / "b.png"
    with pytest.raises(MissingExtraError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path}: expected Pillow, to read image files, got an installation without it; "
        "python -m pip install 'handgrad[images]'"
    )
