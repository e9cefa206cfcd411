/* Two values, number by number. */
static void add(const float *one, const float *other, float *out, int count)
{
    for (int i = 0; i < count; i++)
        out[i] = one[i] + other[i];
}
