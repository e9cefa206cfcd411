/* A network, written by oneticket: one input at a time, without other libraries, memory or state of its own.

   0 (Linear): 5 numbers, 3 of 15 weights
   2 (Linear): 2 numbers, 3 of 10 weights

   C99; link with -lm where the C library keeps its mathematics apart. */
#ifndef TINY_H
#define TINY_H

#ifdef __cplusplus
extern "C" {
#endif

#define TINY_IN 3 /* floats of an input: 3, the last axis closest together */
#define TINY_OUT 2 /* floats of an output: 2 */
#define TINY_SCRATCH 5 /* floats of the memory that a run needs */
#define TINY_OK 0

/* Compute `out` from `in`; what `scratch` holds does not matter, and none of the three overlap. Threads may run at once,
   each with its own `scratch`. Numbers of the input are finite: pruned weights are skipped, so a NaN may be overlooked.
   Returns TINY_OK. */
int tiny_run(const float *in, float *out, float *scratch);

/* The four sizes: floats of input, output and scratch, and bytes of the values beside the source. */
extern const unsigned long tiny_sizes[4];

#ifdef __cplusplus
}
#endif

#endif
