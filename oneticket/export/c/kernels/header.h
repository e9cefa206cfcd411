/* A network, written by oneticket: one input at a time, without other libraries, memory or state of its own.

LAYERS

   C99; link with -lm where the C library keeps its mathematics apart. */
#ifndef UPPER_H
#define UPPER_H

#ifdef __cplusplus
extern "C" {
#endif

#define UPPER_IN IN /* floats of an input: SHAPE, the last axis closest together */
#define UPPER_OUT OUT /* floats of an output: GIVEN */
#define UPPER_SCRATCH SCRATCH /* floats of the memory that a run needs */
#define UPPER_OK 0
LOADING
/* Compute `out` from `in`; what `scratch` holds does not matter, and none of the three overlap. Threads may run at once,
   each with its own `scratch`. Numbers of the input are finite: pruned weights are skipped, so a NaN may be overlooked.
   Returns UPPER_OKRESULT. */
int STEM_run(const float *in, float *out, float *scratch);

/* The four sizes: floats of input, output and scratch, and bytes of the values beside the source. */
extern const unsigned long STEM_sizes[4];

#ifdef __cplusplus
}
#endif

#endif
