// Chains of operators on blocked layouts without values in between in memory: a weighted sum of
// inputs, cut off at limits and padded, a convolution of each channel, a pointwise one.

#include "inputs.h"
#include "product.h"
#include "vectors.h"

extern "C" {

// Only the sum.
struct SumTask {
    Inputs inputs;
    float* target;  // [C / B][OH][OW][B]
    int32_t out_height, out_width;
    int32_t top, left;
    int32_t first_block, num_blocks;
};

struct PointwiseTask {
    Inputs inputs;
    Product product;
    int32_t out_width, stride, top, left;
    int32_t first_pixel, num_pixels;
    int32_t as_it_is;  // whether the input is read where it lies
};

struct DepthwiseTask {
    Inputs inputs;
    const float* weights;  // [C / B][KH][KW][B]
    const float* bias;     // [C]
    float* target;         // [C / B][OH][OW][B]; null where a pointwise one follows
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width, stride;
    int32_t top, left, padded_width;
    int32_t first_row, num_rows, first_block, num_blocks;
    float least, most;
    Product product;  // of what follows
};

}  // extern "C"

namespace {

// Some pixels of a row: what is read of the input is used for all outputs that it counts for.
template <int pixels, int taps, int stride>
void depthwise_tile(const DepthwiseTask& task, int block, const float* in, float* out) {
    const float* weights = task.weights + size_t(block) * task.kernel_height * taps * kBlock;
    Vector sums[pixels];
    unroll<pixels>([&](auto p) { sums[p] = load(task.bias + block * kBlock); });
    for (int i = 0; i < task.kernel_height; ++i) {
        Vector w[taps];
        unroll<taps>([&](auto j) { w[j] = held(weights + (i * taps + j) * kBlock); });
        const float* row = in + size_t(i) * task.padded_width * kBlock;
        unroll<(pixels - 1) * stride + taps>([&](auto q) {
            const Vector x = load(row + q * kBlock);
            unroll<taps>([&](auto j) {
                constexpr int from = q - j;
                if constexpr (from >= 0 && from % stride == 0 && from / stride < pixels)
                    sums[from / stride] += x * w[j];
            });
        });
    }
    unroll<pixels>([&](auto p) {
        store(out + p * kBlock, limited(sums[p], task.least, task.most));
    });
}

template <int taps, int stride> void depthwise(const DepthwiseTask& task, float* scratch) {
    const int num_rows = (task.num_rows - 1) * stride + task.kernel_height;
    const size_t padded = size_t(task.padded_width) * kBlock;
    const size_t out_width = size_t(task.out_width) * kBlock, plane = task.num_rows * out_width;
    float* between = scratch + num_rows * padded;
    for (int b = 0; b < task.num_blocks; ++b) {
        const int block = task.first_block + b;
        for (int y = 0; y < num_rows; ++y)
            gather(task.inputs, block, task.first_row * stride - task.top + y, -task.left,
                   task.padded_width, 1, scratch + y * padded);
        float* out = task.target
            ? task.target + (size_t(block) * task.out_height + task.first_row) * out_width
            : between + b * plane;
        for (int y = 0; y < task.num_rows; ++y)
            in_tiles(task.out_width, [&](auto pixels, int x) {
                depthwise_tile<pixels, taps, stride>(
                    task, block, scratch + y * stride * padded + size_t(x) * stride * kBlock,
                    out + y * out_width + size_t(x) * kBlock);
            });
    }
    if (task.target) return;
    for (int first = 0; first < task.num_blocks; first += kInputsAtOnce)
        multiply(task.product, between + first * plane, plane, first,
                 std::min(kInputsAtOnce, task.num_blocks - first),
                 task.first_row * task.out_width, task.num_rows * task.out_width);
}

template <int taps> void depthwise(const DepthwiseTask& task, float* scratch) {
    task.stride == 1 ? depthwise<taps, 1>(task, scratch) : depthwise<taps, 2>(task, scratch);
}

// The inputs of some outputs of a pointwise convolution, of one block of channels.
void gather_pixels(const PointwiseTask& task, int block, float* out) {
    const int end = task.first_pixel + task.num_pixels;
    for (int pixel = task.first_pixel; pixel < end;) {
        const int y = pixel / task.out_width, x = pixel % task.out_width;
        const int count = std::min(task.out_width - x, end - pixel);
        gather(task.inputs, block, y * task.stride - task.top, x * task.stride - task.left, count,
               task.stride, out);
        pixel += count;
        out += size_t(count) * kBlock;
    }
}

}  // namespace

extern "C" {

void fused_sum(const void* data, int, void*) {
    const SumTask& task = *static_cast<const SumTask*>(data);
    const size_t width = size_t(task.out_width) * kBlock;
    const int end = task.first_block + task.num_blocks;
    float* out = task.target + task.first_block * task.out_height * width;
    for (int block = task.first_block; block < end; ++block)
        for (int y = 0; y < task.out_height; ++y, out += width)
            gather(task.inputs, block, y - task.top, -task.left, task.out_width, 1, out);
}

void fused_pointwise(const void* data, int, void* memory) {
    const PointwiseTask& task = *static_cast<const PointwiseTask*>(data);
    const Inputs& inputs = task.inputs;
    float* gathered = static_cast<float*>(memory);
    const size_t image = size_t(inputs.height) * inputs.width * kBlock;
    const size_t plane = task.as_it_is ? image : size_t(task.num_pixels) * kBlock;
    for (int first = 0; first < task.product.in_blocks; first += kInputsAtOnce) {
        const int count = std::min(kInputsAtOnce, task.product.in_blocks - first);
        const float* in = gathered;
        if (task.as_it_is)
            in = inputs.sources[0] + first * image + size_t(task.first_pixel) * kBlock;
        else
            for (int b = 0; b < count; ++b) gather_pixels(task, first + b, gathered + b * plane);
        multiply(task.product, in, plane, first, count, task.first_pixel, task.num_pixels);
    }
}

void fused_depthwise(const void* data, int, void* memory) {
    const DepthwiseTask& task = *static_cast<const DepthwiseTask*>(data);
    float* scratch = static_cast<float*>(memory);
    switch (task.kernel_width) {
        case 3: return depthwise<3>(task, scratch);
        case 5: return depthwise<5>(task, scratch);
        case 7: return depthwise<7>(task, scratch);
    }
}

}  // extern "C"
