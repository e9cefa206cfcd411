/* Every channel's negative numbers times its slope. */
static void prelu(const float *in, float *out, int channels, int plane, const float *slope)
{
    for (int channel = 0; channel < channels; channel++)
        for (int i = 0; i < plane; i++, in++)
            *out++ = *in < 0 ? *in * slope[channel] : *in;
}
