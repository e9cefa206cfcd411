/* Every number of a channel, and that channel's number of another value. */
static void NAME(const float *in, const float *each, float *out, int channels, int plane)
{
    for (int channel = 0; channel < channels; channel++)
        for (int i = 0; i < plane; i++)
            *out++ = *in++ OPERATION each[channel];
}
