/* Softmax, or its logarithm, over `count` numbers that lie `inner` apart. */
static void softmax(const float *in, float *out, int outer, int count, int inner, int logarithm)
{
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < inner; i++) {
            const float *x = in + (size_t)o * count * inner + i;
            float *y = out + (size_t)o * count * inner + i;
            float most = x[0], sum = 0;
            for (int k = 1; k < count; k++)
                most = most < x[(size_t)k * inner] ? x[(size_t)k * inner] : most;
            for (int k = 0; k < count; k++)
                sum += expf(x[(size_t)k * inner] - most);
            for (int k = 0; k < count; k++) {
                const float shifted = x[(size_t)k * inner] - most;
                y[(size_t)k * inner] = logarithm ? shifted - logf(sum) : expf(shifted) / sum;
            }
        }
}
