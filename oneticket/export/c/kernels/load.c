/* CRC-32, as in zlib and PNG. */
static uint32_t checksum(const unsigned char *data, size_t count)
{
    uint32_t table[256], found = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t bits = i;
        for (int k = 0; k < 8; k++)
            bits = (bits >> 1) ^ (bits & 1 ? 0xedb88320u : 0);
        table[i] = bits;
    }
    for (size_t i = 0; i < count; i++)
        found = (found >> 8) ^ table[(found ^ data[i]) & 255];
    return ~found;
}

int STEM_load(const char *path, void *memory)
{
    unsigned char header[sizeof expected];
    FILE *file;
    int found = UPPER_OK;
    const uint32_t one = 1;
    weights = NULL;
    if (*(const unsigned char *)&one != 1)
        return UPPER_ORDER;
    if (memory == NULL || (uintptr_t)memory % 8 != 0)
        return UPPER_MEMORY;
    file = fopen(path, "rb");
    if (file == NULL)
        return UPPER_NO_FILE;
    if (fread(header, 1, sizeof header, file) != sizeof header)
        found = UPPER_OTHER;
    else if (memcmp(header, expected, sizeof header) != 0)
        found = UPPER_OTHER;
    else if (fread(memory, 1, UPPER_VALUES, file) != UPPER_VALUES || fgetc(file) != EOF)
        found = UPPER_DAMAGED;
    fclose(file);
    if (found == UPPER_OK && checksum(memory, UPPER_VALUES) != CHECKSUM)
        found = UPPER_DAMAGED;
    if (found == UPPER_OK)
        weights = memory;
    return found;
}
