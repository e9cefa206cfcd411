/* A linear layer over its remaining weights, four outputs at a time: of each, how far the next weight's input lies
   behind the one before. Outputs come in the order of how many weights they have. */
static void NAME(const float *in, float *out, int outputs, const uint32_t *ends, const ORDER *order,
                 const DELTA *deltas, const VALUE *values,SCALE const float *bias)
{
    uint32_t at = 0;
    for (int first = 0; first < outputs; first += 4) {
        const float *a = in, *b = in, *c = in, *d = in;
        quad sum = {0, 0, 0, 0};
        for (const uint32_t end = *ends++; at < end; at++, deltas += 4, values += 4) {
            a += deltas[0];
            b += deltas[1];
            c += deltas[2];
            d += deltas[3];
#if LANES > 1
            const quad weights = {(float)values[0], (float)values[1], (float)values[2], (float)values[3]};
            sum += weights * (quad){*a, *b, *c, *d};
#else
            sum[0] += (float)values[0] * *a;
            sum[1] += (float)values[1] * *b;
            sum[2] += (float)values[2] * *c;
            sum[3] += (float)values[3] * *d;
#endif
        }
        for (int i = 0; i < 4 && first + i < outputs; i++)
            out[order[first + i]] = sum[i] SCALED(order[first + i]) + bias[order[first + i]];
    }
}
