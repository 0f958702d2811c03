#pragma once
// What a fused kernel reads: a weighted sum of inputs on blocked layouts, cut off at limits.

#include <algorithm>
#include <cstring>

#include "vectors.h"

struct Inputs {
    const float* const* sources;  // of each [C / B][H][W][B]
    const float* coefficients;    // of the sources
    int32_t num_sources;
    int32_t height, width;
    float least, most;
};

inline Vector limited(Vector x, float least, float most) {
    x = x < least ? Vector{} + least : x;
    return x > most ? Vector{} + most : x;
}

// Pixels of a row of a block of channels, from x on, a step apart; zeros outside of the image.
inline void gather(const Inputs& inputs, int block, int y, int x, int count, int step, float* out) {
    const bool inside = y >= 0 && y < inputs.height;
    const int begin = inside ? std::clamp((step - 1 - x) / step, 0, count) : count;
    const int end = std::clamp((inputs.width - x + step - 1) / step, begin, count);
    const ptrdiff_t row = (ptrdiff_t(block) * inputs.height + y) * inputs.width + x;
    std::memset(out, 0, begin * sizeof(Vector));
    for (int i = begin; i < end; ++i) {
        const ptrdiff_t at = (row + ptrdiff_t(i) * step) * kBlock;
        Vector sum = inputs.coefficients[0] * load(inputs.sources[0] + at);
        for (int s = 1; s < inputs.num_sources; ++s)
            sum += inputs.coefficients[s] * load(inputs.sources[s] + at);
        store(out + size_t(i) * kBlock, limited(sum, inputs.least, inputs.most));
    }
    std::memset(out + size_t(end) * kBlock, 0, (count - end) * sizeof(Vector));
}
