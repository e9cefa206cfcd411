/* A linear layer that has most of its weights: they lie in tiles of TILE outputs, input by input. */
static void NAME(const float *in, float *out, int outputs, int inputs, const VALUE *values,SCALE
                 const float *bias)
{
    for (int first = 0; first < outputs; first += TILE) {
        lanes sum[CHAINS][TILE / LANES];
        float done[TILE];
        memset(sum, 0, sizeof sum);
        int i = 0;
        for (; i + CHAINS <= inputs; i += CHAINS)
            for (int c = 0; c < CHAINS; c++, values += TILE) {
                LOAD;
                for (int t = 0; t < TILE / LANES; t++)
                    sum[c][t] += in[i + c] * ((const lanes *)row)[t];
            }
        for (; i < inputs; i++, values += TILE) {
            LOAD;
            for (int t = 0; t < TILE / LANES; t++)
                sum[0][t] += in[i] * ((const lanes *)row)[t];
        }
        for (int c = 1; c < CHAINS; c++)
            for (int t = 0; t < TILE / LANES; t++)
                sum[0][t] += sum[c][t];
        memcpy(done, sum, sizeof done);
        for (int t = 0; t < TILE && first + t < outputs; t++)
            out[first + t] = done[t] SCALED(first + t) + bias[first + t];
    }
}
