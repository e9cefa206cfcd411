/* How the file of this network's values begins. */
static const unsigned char expected[EXPECTED] = {BEGINNING};

static const unsigned char *weights;
