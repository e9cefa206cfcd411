#define UPPER_VALUES BYTES /* bytes of the memory that holds the values */
#define UPPER_NOT_LOADED 1 /* a run before the values were loaded */
#define UPPER_NO_FILE 2 /* the file cannot be opened */
#define UPPER_OTHER 3 /* the file is no file of values, or another network's */
#define UPPER_DAMAGED 4 /* the file is too short, too long, or not what was written */
#define UPPER_MEMORY 5 /* no memory was given, or its address is no multiple of 8 */
#define UPPER_ORDER 6 /* the machine puts the high byte of a number first */

/* Read the values out of the file STEM.bin into `memory`, UPPER_VALUES bytes that stay the network's. Call it once,
   before any run. Returns UPPER_OK, or why not; then the network has no values. */
int STEM_load(const char *path, void *memory);

