// Which pixels an item of work reads: some rows of an image, or some images, and a copy of them where taps reach beyond.
#pragma once

#include "factors.h"
#include "taps.h"

namespace handgrad::HG_ISA {

// The rows of pixels that some rows of places meet, of one image or of several.
class Strip {
 public:
  // Numbers of scratch for `images` times `rows` rows of places; 0 where the images themselves will do.
  static long size(const Batch<Factor>& x, const Taps& taps, const Places& at, long images, long rows) {
    const bool inside = taps.first_row() >= 0 && taps.first_column() >= 0 &&
                        (at.rows - 1) * at.sh + taps.last_row() < x.h &&
                        (at.columns - 1) * at.sw + taps.last_column() < x.w;
    return inside ? 0 : images * height(taps, at, rows) * width(taps, at) * x.c;
  }

  Strip(const Batch<Factor>& x, const Taps& taps, const Places& at, long image, long images, long row, long rows,
        Factor* scratch)
      : sh_(at.sh), c_(x.c), first_column_(taps.first_column()) {
    const long first = row * at.sh + taps.first_row();
    if (!scratch) {
      line_ = x.w * x.c, image_ = x.h * line_;
      data_ = x.data + image * image_ + first * line_ + first_column_ * c_;
    } else {
      const long h = height(taps, at, rows), w = width(taps, at);
      line_ = w * x.c, image_ = h * line_;
      data_ = scratch;
      for (long m = 0; m < images; ++m)
        for (long i = 0; i < h; ++i)
          copy_line(first + i >= 0 && first + i < x.h ? x.data + ((image + m) * x.h + first + i) * x.w * x.c : nullptr, x.w,
                    x.c, first_column_, w, x.c, scratch + m * image_ + i * line_);
    }
    first_row_ = taps.first_row();
  }

  // The pixel that the tap (0, 0) would meet from place (m, p, 0) of the strip, seen from data().
  long place(long m, long p) const { return m * image_ + p * sh_ * line_; }
  long tap(const Taps& taps, long i, long j) const {
    return (taps.row[i] - first_row_) * line_ + (taps.column[j] - first_column_) * c_;
  }
  const Factor* data() const { return data_; }

 private:
  static long height(const Taps& taps, const Places& at, long rows) {
    return (rows - 1) * at.sh + taps.last_row() - taps.first_row() + 1;
  }
  static long width(const Taps& taps, const Places& at) {
    return (at.columns - 1) * at.sw + taps.last_column() - taps.first_column() + 1;
  }

  const Factor* data_;
  long line_, image_, sh_, c_, first_row_, first_column_;
};

// How many images or rows make one item of work of about `pixels` places.
struct Share {
  long images, rows, per_image, count;
  long image(long item) const { return item / per_image * images; }
  long row(long item) const { return item % per_image * rows; }
  Share(long n, const Places& at, long pixels) {
    rows = smaller(at.rows, larger(1, pixels / larger(1, at.columns)));
    images = rows < at.rows ? 1 : larger(1, smaller(n, pixels / larger(1, at.rows * at.columns)));
    per_image = (at.rows + rows - 1) / rows;
    count = rows < at.rows ? n * per_image : (n + images - 1) / images;
  }
};

}  // namespace handgrad::HG_ISA
