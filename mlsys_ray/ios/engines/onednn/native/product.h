#pragma once
// A pointwise convolution on blocked layouts as a product of matrices.

#include <algorithm>

#include "inputs.h"
#include "vectors.h"

struct Product {
    const float* weights;  // [OC / 2B][IC][2B], the last pair may be half
    const float* bias;     // [OC]
    float* target;         // [OC / B][pixels][B]
    int32_t in_blocks, pixels;
    int32_t first_block, num_blocks;  // of the outputs; the first is even
    float least, most;
};

// Inputs that are multiplied at a time: weights of two blocks of outputs for them fit the L1 cache.
constexpr int kInputsAtOnce = 256 / kBlock;

template <int pixels, int vectors>
void product_tile(const Product& product, int block, const float* in, size_t plane, int first_in,
                  int num_in, int pixel) {
    const size_t out_plane = size_t(product.pixels) * kBlock;
    float* out = product.target + block * out_plane + size_t(pixel) * kBlock;
    const float* weights = product.weights
        + (size_t(block) * product.in_blocks + size_t(first_in) * vectors) * kBlock * kBlock;
    Vector sums[pixels][vectors];
    unroll<vectors>([&](auto v) {
        const Vector bias = load(product.bias + (block + v) * kBlock);
        unroll<pixels>([&](auto p) {
            sums[p][v] = first_in ? load(out + v * out_plane + p * kBlock) : bias;
        });
    });
    for (int b = 0; b < num_in; ++b, in += plane) {
        // Too far apart for the processor to foresee them.
        unroll<pixels>([&](auto p) { __builtin_prefetch(in + plane + p * kBlock); });
        for (int c = 0; c < kBlock; ++c, weights += vectors * kBlock) {
            Vector w[vectors];
            unroll<vectors>([&](auto v) { w[v] = held(weights + v * kBlock); });
            unroll<pixels>([&](auto p) {
                const float x = in[p * kBlock + c];
                unroll<vectors>([&](auto v) { sums[p][v] += x * w[v]; });
            });
        }
    }
    const bool last = first_in + num_in == product.in_blocks;
    unroll<pixels>([&](auto p) {
        unroll<vectors>([&](auto v) {
            const Vector x = sums[p][v];
            store(out + v * out_plane + p * kBlock,
                  last ? limited(x, product.least, product.most) : x);
        });
    });
}

// Adds the share of some inputs, [num_in][plane], to some pixels.
inline void multiply(const Product& product, const float* in, size_t plane, int first_in, int num_in,
                     int first_pixel, int num_pixels) {
    const int end = product.first_block + product.num_blocks;
    for (int block = product.first_block; block < end; block += 2)
        in_tiles(num_pixels, [&](auto pixels, int p) {
            const float* at = in + size_t(p) * kBlock;
            if (block + 1 < end)
                product_tile<pixels, 2>(product, block, at, plane, first_in, num_in,
                                        first_pixel + p);
            else
                product_tile<pixels, 1>(product, block, at, plane, first_in, num_in,
                                        first_pixel + p);
        });
}
