/* The largest (or, with `mean`, the mean) of every window. `divisor` 0: the window's size; `padded`: with its borders. */
static void pool(const float *in, float *out, int mean, int channels, int height, int width, int rows, int columns,
                 int kh, int kw, int sy, int sx, int top, int left, int dy, int dx, int padded, int divisor)
{
    for (int channel = 0; channel < channels; channel++, in += (size_t)height * width)
        for (int r = 0; r < rows; r++, out += columns) {
            for (int q = 0; q < columns; q++)
                out[q] = mean ? 0 : -INFINITY;
            for (int i = 0; i < kh; i++) {
                const int y = r * sy + i * dy - top;
                if (y < 0 || y >= height)
                    continue;
                for (int j = 0; j < kw; j++) {
                    const int shift = j * dx - left;
                    const int begin = shift < 0 ? (-shift + sx - 1) / sx : 0;
                    const int behind = (width - shift + sx - 1) / sx;
                    const int end = width <= shift ? 0 : behind < columns ? behind : columns;
                    const float *row = in + (size_t)y * width;
                    if (mean)
                        for (int q = begin; q < end; q++)
                            out[q] += row[q * sx + shift];
                    else if (sx == 2)
                        for (int q = begin; q < end; q++)
                            out[q] = out[q] < row[q * 2 + shift] ? row[q * 2 + shift] : out[q];
                    else
                        for (int q = begin; q < end; q++)
                            out[q] = out[q] < row[q * sx + shift] ? row[q * sx + shift] : out[q];
                }
            }
            for (int q = 0; mean && q < columns; q++) {
                int y = r * sy - top, x = q * sx - left;
                int below = y + kh < height + top ? y + kh : height + top;
                int behind = x + kw < width + left ? x + kw : width + left;
                if (!padded) {
                    below = below < height ? below : height;
                    behind = behind < width ? behind : width;
                    y = y < 0 ? 0 : y;
                    x = x < 0 ? 0 : x;
                }
                out[q] /= (float)(divisor ? divisor : (below - y) * (behind - x));
            }
        }
}
