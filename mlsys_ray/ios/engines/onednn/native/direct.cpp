// Direct convolutions on blocked layouts: a register tile of outputs, 2 blocks of channels by a few
// pixels of a row, is summed over all inputs before it is stored.

#include <cstring>

#include "vectors.h"

extern "C" struct DirectTask {
    const float* source;   // [IC / L][H][W][L] with L lanes, B or, of a plain image, 1
    const float* weights;  // [OC / 2B][IC / L][KH][KW][L][2B], the last pair may be half
    const float* bias;     // [OC]
    float* target;         // [OC / B][OH][OW][B]
    int32_t height, width, in_blocks, lanes;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_down, stride_across, dilation_down, dilation_across;
    int32_t top, left;
    int32_t padded_width;  // 0 where no input lies outside the image
    int32_t first_row, num_rows;
    int32_t first_block, num_blocks;  // of the outputs; the first is even
    int32_t relu;
};

namespace {

// Rows of the input, as they lie, or copied with zeros around.
struct Rows {
    const float* first;
    size_t plane, width;  // of a block of channels, of a row [floats]
};

Rows padded_rows(const DirectTask& task, float* copy) {
    const size_t plane = size_t(task.height) * task.width * task.lanes;
    const size_t width = size_t(task.width) * task.lanes;
    const int begin = task.first_row * task.stride_down - task.top;
    if (!task.padded_width) return {task.source + begin * width, plane, width};
    const int rows = (task.num_rows - 1) * task.stride_down
        + (task.kernel_height - 1) * task.dilation_down + 1;
    const size_t padded = size_t(task.padded_width) * task.lanes;
    const size_t left = size_t(task.left) * task.lanes;
    float* row = copy;
    for (int block = 0; block < task.in_blocks; ++block)
        for (int y = begin; y < begin + rows; ++y, row += padded) {
            if (y < 0 || y >= task.height) {
                std::memset(row, 0, padded * sizeof(float));
                continue;
            }
            std::memset(row, 0, left * sizeof(float));
            std::memcpy(row + left, task.source + block * plane + y * width, width * sizeof(float));
            std::memset(row + left + width, 0, (padded - left - width) * sizeof(float));
        }
    return {copy, rows * padded, padded};
}

template <int pixels, int vectors, int stride, int lanes>
void tile(const DirectTask& task, const Rows& rows, const float* in, const float* weights,
          const float* bias, float* out, size_t out_plane) {
    Vector sums[pixels][vectors];
    unroll<pixels>([&](auto p) {
        unroll<vectors>([&](auto v) { sums[p][v] = load(bias + v * kBlock); });
    });
    for (int block = 0; block < task.in_blocks; ++block)
        for (int i = 0; i < task.kernel_height; ++i)
            for (int j = 0; j < task.kernel_width; ++j) {
                const float* at = in + block * rows.plane + i * task.dilation_down * rows.width
                    + size_t(j) * task.dilation_across * lanes;
                for (int c = 0; c < lanes; ++c, weights += vectors * kBlock) {
                    Vector w[vectors];
                    unroll<vectors>([&](auto v) { w[v] = held(weights + v * kBlock); });
                    unroll<pixels>([&](auto p) {
                        const float x = at[p * stride * lanes + c];
                        unroll<vectors>([&](auto v) { sums[p][v] += x * w[v]; });
                    });
                }
            }
    unroll<pixels>([&](auto p) {
        unroll<vectors>([&](auto v) {
            Vector x = sums[p][v];
            if (task.relu) x = x > 0 ? x : Vector{};
            store(out + v * out_plane + p * kBlock, x);
        });
    });
}

template <int vectors, int stride, int lanes>
void outputs(const DirectTask& task, const Rows& rows, int block) {
    const size_t taps = size_t(task.in_blocks) * lanes * task.kernel_height * task.kernel_width;
    const size_t out_plane = size_t(task.out_height) * task.out_width * kBlock;
    const float* weights = task.weights + block * taps * kBlock;
    for (int y = 0; y < task.num_rows; ++y) {
        const float* in = rows.first + size_t(y) * task.stride_down * rows.width;
        float* out = task.target + block * out_plane
            + size_t(task.first_row + y) * task.out_width * kBlock;
        in_tiles(task.out_width, [&](auto pixels, int x) {
            tile<pixels, vectors, stride, lanes>(
                task, rows, in + size_t(x) * stride * lanes, weights, task.bias + block * kBlock,
                out + size_t(x) * kBlock, out_plane);
        });
    }
}

template <int stride, int lanes> void convolve(const DirectTask& task, float* scratch) {
    const Rows rows = padded_rows(task, scratch);
    const int end = task.first_block + task.num_blocks;
    int block = task.first_block;
    for (; block + 1 < end; block += 2) outputs<2, stride, lanes>(task, rows, block);
    if (block < end) outputs<1, stride, lanes>(task, rows, block);
}

}  // namespace

extern "C" void direct_convolution(const void* data, int, void* memory) {
    const DirectTask& task = *static_cast<const DirectTask*>(data);
    float* scratch = static_cast<float*>(memory);
    if (task.lanes == 1)
        task.stride_across == 1 ? convolve<1, 1>(task, scratch) : convolve<2, 1>(task, scratch);
    else
        task.stride_across == 1 ? convolve<1, kBlock>(task, scratch)
                                : convolve<2, kBlock>(task, scratch);
}
