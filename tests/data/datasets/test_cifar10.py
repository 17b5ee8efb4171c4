from __future__ import annotations

import numpy as np
import pytest

from handgrad.data.datasets.cifar10 import SOURCE, decode_records, load_cifar
from handgrad.errors import DataError


def test_records_are_a_label_and_then_channels_rows_and_columns():
    pixels = np.arange(2 * 3072).reshape(2, 3, 32, 32) % 251
    records = np.concatenate([np.array([[7], [3]]), pixels.reshape(2, 3072)], axis=1).astype(np.uint8)
    x, y = decode_records(records.tobytes())
    assert x.shape == (2, 32, 32, 3)
    assert y.tolist() == [7, 3]
    assert (x[1, 5, 9, 2], x[0, 31, 0, 1]) == (pixels[1, 2, 5, 9], pixels[0, 1, 31, 0])


def test_batches_are_joined_in_order(tiny_tar, tmp_path):
    tiny = load_cifar(tiny_tar.source, folder=tmp_path)
    first, second = tiny_tar.files["data_batch_1.bin"], tiny_tar.files["data_batch_2.bin"]
    assert tiny.x_train.shape == (4, 32, 32, 3)
    assert tiny.x_train.flags.c_contiguous
    assert tiny.y_train.tolist() == [first[0], first[3073], second[0], second[3073]]
    np.testing.assert_array_equal(
        tiny.x_train[2, 0, 0], np.float32([second[1], second[1025], second[2049]]) / 255
    )
    assert tiny.x_test.shape == (1, 32, 32, 3)
    assert tiny.y_test.tolist() == [tiny_tar.files["test_batch.bin"][0]]
    assert load_cifar(tiny_tar.source, dtype=np.uint8, folder=tmp_path).x_test.dtype == np.uint8


def test_the_real_table_is_that_of_six_batches_of_10000():
    assert [file.name for file in SOURCE.files] == [
        *(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
    ]
    assert {file.size for file in SOURCE.files} == {10000 * 3073}
    assert SOURCE.archives[0].urls[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


@pytest.mark.parametrize("length", [1, 3072, 3074, 30_729_999])
def test_a_part_of_a_record_is_refused(length):
    with pytest.raises(DataError) as error:
        decode_records(bytes(length))
    assert str(error.value) == f"CIFAR-10: expected records of 3,073 bytes, got {length:,} bytes"
