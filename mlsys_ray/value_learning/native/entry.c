/* How a kernel of Halide's is called from other code: with all its arguments in one record, and
   memory of the caller's for what it keeps for the time of a call. */

#include <stdint.h>
#include <stdlib.h>

struct Call {
    int64_t scratch_bytes; /* of the memory that is given */
    int32_t num_arguments;
    void* const* arguments; /* a halide_buffer_t each, the result last */
};

/* Memory is handed out one piece after another, and begins anew when all pieces are back. */
struct Scratch {
    char *begin, *at, *end;
    int live;
};

enum { kAlignment = 128, kMaxArguments = 32 };

__attribute__((visibility("hidden"))) extern int kernel_argv(void** arguments);

__attribute__((visibility("hidden"))) void* halide_malloc(void* context, size_t size) {
    struct Scratch* scratch = context;
    const size_t whole = (size + 2 * kAlignment - 1) / kAlignment * kAlignment;
    if (whole <= (size_t)(scratch->end - scratch->at)) {
        void* piece = scratch->at;
        scratch->at += whole;
        ++scratch->live;
        return piece;
    }
    void* piece = NULL;
    return posix_memalign(&piece, kAlignment, whole) ? NULL : piece;
}

__attribute__((visibility("hidden"))) void halide_free(void* context, void* piece) {
    struct Scratch* scratch = context;
    if ((char*)piece < scratch->begin || (char*)piece >= scratch->end) {
        free(piece);
        return;
    }
    if (--scratch->live == 0) scratch->at = scratch->begin;
}

/* The second argument is there for callers that number their threads. */
void call_kernel(const void* data, int worker, void* memory) {
    (void)worker;
    const struct Call* call = data;
    char* begin = (char*)(((uintptr_t)memory + kAlignment - 1) / kAlignment * kAlignment);
    struct Scratch scratch = {begin, begin, (char*)memory + call->scratch_bytes, 0};
    void* context = &scratch;
    void* arguments[kMaxArguments + 1];
    arguments[0] = &context;
    for (int i = 0; i < call->num_arguments; ++i) arguments[i + 1] = call->arguments[i];
    kernel_argv(arguments);
}
