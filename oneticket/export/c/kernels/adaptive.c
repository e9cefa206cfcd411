/* The largest (or, with `mean`, the mean) of windows that cover the image. */
static void adaptive(const float *in, float *out, int mean, int channels, int height, int width, int rows, int columns)
{
    for (int channel = 0; channel < channels; channel++, in += (size_t)height * width)
        for (int r = 0; r < rows; r++)
            for (int q = 0; q < columns; q++) {
                const int top = r * height / rows, below = ((r + 1) * height + rows - 1) / rows;
                const int left = q * width / columns, behind = ((q + 1) * width + columns - 1) / columns;
                float found = mean ? 0 : -INFINITY;
                for (int y = top; y < below; y++)
                    for (int x = left; x < behind; x++) {
                        const float value = in[(size_t)y * width + x];
                        found = mean ? found + value : found < value ? value : found;
                    }
                *out++ = mean ? found / (float)((below - top) * (behind - left)) : found;
            }
}
