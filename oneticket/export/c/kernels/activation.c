static void NAME(float *values, int count)
{
    for (int i = 0; i < count; i++) {
        const float x = values[i];
        values[i] = EXPRESSION;
    }
}
