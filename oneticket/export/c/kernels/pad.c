/* The input with zeros around it; with a stride, every sy-th row and sx-th column by itself, in planes side by side. */
static void pad(const float *in, float *out, int channels, int height, int width, int top, int left, int sy, int sx,
                int rows, int columns)
{
    for (int channel = 0; channel < channels; channel++, in += (size_t)height * width)
        for (int a = 0; a < sy; a++)
            for (int b = 0; b < sx; b++)
                for (int r = 0; r < rows; r++, out += columns) {
                    const int y = r * sy + a - top;
                    const int begin = b < left ? (left - b + sx - 1) / sx : 0;
                    const int behind = (width + left - b + sx - 1) / sx;
                    const int end = behind < columns ? behind : columns;
                    memset(out, 0, (size_t)columns * sizeof *out);
                    if (y < 0 || y >= height)
                        continue;
                    const float *row = in + (size_t)y * width;
                    if (sx == 1)
                        for (int q = begin; q < end; q++)
                            out[q] = row[q + b - left];
                    else
                        for (int q = begin; q < end; q++)
                            out[q] = row[q * sx + b - left];
                }
}
