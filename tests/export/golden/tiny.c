#include "tiny.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Neighbouring numbers are computed side by side where the compiler has a way to say so. */
#if defined(__GNUC__) && defined(__AVX__)
#define LANES 8
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
#elif defined(__GNUC__) && (defined(__SSE__) || defined(__ARM_NEON))
#define LANES 4
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
#else
#define LANES 1
typedef float lanes;
#endif
#if LANES > 1
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
#else
typedef float quad[4];
#endif

static const uint32_t layer1_ends[2] = {
    1, 2
};
static const uint16_t layer1_order[5] = {
    1, 4, 0, 2, 3
};
static const uint8_t layer1_deltas[8] = {
    0, 0, 1, 0, 2, 0, 0, 0
};
static const float layer1_values[8] = {
    0.0f, 0.0f, 1.5f, -2.0f, 0.1f, 0.0f, 0.0f, 0.0f
};
static const float layer1_bias[5] = {
    0.0f, 1.0f, 2.0f, 3.0f, 4.0f
};
static const uint32_t layer2_ends[1] = {
    2
};
static const uint16_t layer2_order[2] = {
    0, 1
};
static const uint8_t layer2_deltas[8] = {
    0, 2, 0, 0, 0, 2, 0, 0
};
static const float layer2_values[8] = {
    1.0f, -1.0f, 0.0f, 0.0f, 0.0f, 0.25f, 0.0f, 0.0f
};
static const float layer2_bias[2] = {
    0.5f, 0.0f
};

/* A linear layer over its remaining weights, four outputs at a time: of each, how far the next weight's input lies
   behind the one before. Outputs come in the order of how many weights they have. */
static void linear_float_8_16(const float *in, float *out, int outputs, const uint32_t *ends, const uint16_t *order,
                              const uint8_t *deltas, const float *values, const float *bias)
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
            out[order[first + i]] = sum[i] + bias[order[first + i]];
    }
}

static void activate_relu(float *values, int count)
{
    for (int i = 0; i < count; i++) {
        const float x = values[i];
        values[i] = x < 0 ? 0 : x;
    }
}

const unsigned long tiny_sizes[4] = {TINY_IN, TINY_OUT, TINY_SCRATCH, 0};

int tiny_run(const float *in, float *out, float *scratch)
{

    /* 0 (Linear): 5 numbers, 3 of 15 weights */
    linear_float_8_16(in, scratch + 0, 5, layer1_ends, layer1_order, layer1_deltas, layer1_values, layer1_bias);
    activate_relu(scratch + 0, 5);

    /* 2 (Linear): 2 numbers, 3 of 10 weights */
    linear_float_8_16(scratch + 0, out, 2, layer2_ends, layer2_order, layer2_deltas, layer2_values, layer2_bias);
    return TINY_OK;
}
