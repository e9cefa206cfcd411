const unsigned long STEM_sizes[4] = {UPPER_IN, UPPER_OUT, UPPER_SCRATCH, BYTES};

int STEM_run(const float *in, float *out, float *scratch)
{
CHECK
CALLS
    return UPPER_OK;
}
