/* A convolution over its remaining weights: every weight is added, for TILE positions side by side, times what lies
   there in the input with its borders. Rows of `pitch` positions; those behind `columns` are not kept. */
static void NAME(const float *in, float *out, int channels, const uint32_t *ends, const DELTA *deltas,
                 const VALUE *values,SCALE const float *bias, int rows, int columns, int pitch,
                 void (*activate)(float *, int))
{
    const int last = (rows - 1) * pitch + columns;
    for (int first = 0; first < last; first += TILE) {
        uint32_t k = 0;
        for (int channel = 0; channel < channels; channel++) {
            lanes sum[CHAINS][TILE / LANES];
            float done[TILE];
            float *plane = out + (size_t)channel * rows * columns;
            const float *at = in + first;
            const uint32_t end = ends[channel];
            memset(sum, 0, sizeof sum);
            for (; k + CHAINS <= end; k += CHAINS)
                for (int c = 0; c < CHAINS; c++) {
                    const float value = (float)values[k + c];
                    at += deltas[k + c];
                    for (int t = 0; t < TILE / LANES; t++)
                        sum[c][t] += value * ((const lanes *)at)[t];
                }
            for (; k < end; k++) {
                const float value = (float)values[k];
                at += deltas[k];
                for (int t = 0; t < TILE / LANES; t++)
                    sum[0][t] += value * ((const lanes *)at)[t];
            }
            for (int c = 1; c < CHAINS; c++)
                for (int t = 0; t < TILE / LANES; t++)
                    sum[0][t] += sum[c][t];
            memcpy(done, sum, sizeof done);
            for (int t = 0; t < TILE; t++)
                done[t] = done[t] SCALED(channel) + bias[channel];
            if (activate)
                activate(done, TILE);
            for (int t = 0, y = first / pitch, x = first % pitch; t < TILE && y < rows; y++) {
                int run = pitch - x < TILE - t ? pitch - x : TILE - t;
                int kept = columns - x < run ? columns - x : run;
                for (int i = 0; i < kept; i++)
                    plane[(size_t)y * columns + x + i] = done[t + i];
                t += run;
                x = 0;
            }
        }
    }
}
