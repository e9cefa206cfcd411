/* Every channel times its scale, plus its shift. */
static void affine(const float *in, float *out, int channels, int plane, const float *scale, const float *shift)
{
    for (int channel = 0; channel < channels; channel++)
        for (int i = 0; i < plane; i++)
            *out++ = *in++ * scale[channel] + shift[channel];
}
