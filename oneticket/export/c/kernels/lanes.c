/* Neighbouring numbers are computed side by side where the compiler has a way to say so. */
#if defined(__GNUC__) && defined(__AVX__)
#define LANES 8
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
#elif defined(__GNUC__) && (defined(__SSE__) || defined(__ARM_NEON))
#define LANES 4
typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));
#else
#define LANES 1
typedef float lanes;
#endif
#if LANES > 1
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
#else
typedef float quad[4];
#endif
