// Winograd's minimal filtering for convolutions of stride 1 on blocked layouts, in one and two
// dimensions (Lavin and Gray 2016): tiles of the input are transformed, multiplied by transformed
// weights point by point, and transformed back, with fewer multiplications than outputs times taps.

#include "vectors.h"

namespace {

// The matrices of F(M, R): M outputs of a filter of R taps by M + R - 1 multiplications, from
// interpolation at points and infinity (Toom and Cook). The points are those of least rounding
// error (Barabasz et al. 2018); those of integers alone have 1.5 times as much.
template <int outputs, int taps> struct Filter {
    static constexpr int M = outputs, R = taps, A = M + R - 1;
    struct Matrices {
        double input[A][A] = {}, filter[A][R] = {}, output[M][A] = {};
    };
    static constexpr Matrices make() {
        constexpr double points[] = {0, -1, 1, 0.5, -2, -0.5, 2, -0.25, 4};
        Matrices m;
        for (int i = 0; i < A; ++i) {
            // The product of all (x - point) but the i-th; of all of them for infinity.
            double polynomial[A + 1] = {1};
            int degree = 0;
            double norm = 1;
            for (int l = 0; l < A - 1; ++l) {
                if (l == i) continue;
                ++degree;
                for (int k = degree; k >= 0; --k)
                    polynomial[k] = (k ? polynomial[k - 1] : 0) - points[l] * polynomial[k];
                if (i < A - 1) norm *= points[i] - points[l];
            }
            for (int k = 0; k < A; ++k) m.input[i][k] = polynomial[k];
            double power = 1;
            for (int k = 0; k < (R > M ? R : M); ++k) {
                const bool last = i == A - 1;
                if (k < R) m.filter[i][k] = last ? k == R - 1 : power / norm;
                if (k < M) m.output[k][i] = last ? k == M - 1 : power;
                if (i < A - 1) power *= points[i];
            }
        }
        return m;
    }
    static constexpr Matrices matrices = make();
};

template <double factor> inline __attribute__((always_inline)) void add(Vector& sum, Vector x) {
    if constexpr (factor == 1) sum += x;
    else if constexpr (factor == -1) sum -= x;
    else if constexpr (factor != 0) sum += float(factor) * x;
}

}  // namespace

extern "C" struct WinogradTask {
    const float* source;   // [IC / B][H][W][B]
    const float* weights;  // [OC / 2B][points][IC][2B], the last pair may be half
    const float* bias;     // [OC]
    float* target;         // [OC / B][OH][OW][B]
    int32_t height, width, in_blocks;
    int32_t out_height, out_width;
    int32_t top, left;  // padding
    int32_t first_tile, num_tiles;
    int32_t first_block, num_blocks;  // of the outputs; the first is even
    int32_t relu;
};

namespace {

template <int tiles, int vectors>
void multiply(const float* in, const float* weights, float* out, int channels) {
    Vector sums[tiles][vectors] = {};
    for (int c = 0; c < channels; ++c) {
        Vector w[vectors];
        unroll<vectors>([&](auto v) {
            w[v] = held(weights + (c * vectors + v) * kBlock);
        });
        unroll<tiles>([&](auto t) {
            const float x = in[size_t(t) * channels + c];
            unroll<vectors>([&](auto v) { sums[t][v] += x * w[v]; });
        });
    }
    unroll<tiles>([&](auto t) {
        unroll<vectors>([&](auto v) {
            store(out + (t * vectors + v) * kBlock, sums[t][v]);
        });
    });
}

template <class H, class W> struct Winograd {
    static constexpr int points = H::A * W::A;

    static void transform_input(const WinogradTask& task, int tile, int block, float* out,
                                size_t stride) {
        const int tiles_across = (task.out_width + W::M - 1) / W::M;
        const int y0 = tile / tiles_across * H::M - task.top;
        const int x0 = tile % tiles_across * W::M - task.left;
        const float* plane = task.source + size_t(block) * task.height * task.width * kBlock;
        Vector d[H::A][W::A];
        const bool inside = y0 >= 0 && x0 >= 0 && y0 + H::A <= task.height
            && x0 + W::A <= task.width;
        for (int i = 0; i < H::A; ++i)
            for (int j = 0; j < W::A; ++j) {
                const int y = y0 + i, x = x0 + j;
                if (inside || (y >= 0 && x >= 0 && y < task.height && x < task.width))
                    d[i][j] = load(plane + (size_t(y) * task.width + x) * kBlock);
                else
                    d[i][j] = Vector{};
            }
        Vector half[H::A][W::A];
        for (int j = 0; j < W::A; ++j)
            unroll<H::A>([&](auto i) {
                Vector sum{};
                unroll<H::A>([&](auto k) { add<H::matrices.input[i][k]>(sum, d[k][j]); });
                half[i][j] = sum;
            });
        for (int i = 0; i < H::A; ++i)
            unroll<W::A>([&](auto j) {
                Vector sum{};
                unroll<W::A>([&](auto k) { add<W::matrices.input[j][k]>(sum, half[i][k]); });
                store(out + (i * W::A + j) * stride, sum);
            });
    }

    static void transform_output(const WinogradTask& task, int tile, int block, const float* in,
                                 size_t stride) {
        Vector half[H::M][W::A];
        for (int j = 0; j < W::A; ++j)
            unroll<H::M>([&](auto i) {
                Vector sum{};
                unroll<H::A>([&](auto k) {
                    add<H::matrices.output[i][k]>(sum, load(in + (k * W::A + j) * stride));
                });
                half[i][j] = sum;
            });
        const int tiles_across = (task.out_width + W::M - 1) / W::M;
        const int y0 = tile / tiles_across * H::M, x0 = tile % tiles_across * W::M;
        const Vector bias = load(task.bias + block * kBlock);
        float* plane = task.target + size_t(block) * task.out_height * task.out_width * kBlock;
        for (int i = 0; i < H::M && y0 + i < task.out_height; ++i)
            unroll<W::M>([&](auto j) {
                if (x0 + j >= task.out_width) return;
                Vector sum = bias;
                unroll<W::A>([&](auto k) { add<W::matrices.output[j][k]>(sum, half[i][k]); });
                if (task.relu) sum = sum > 0 ? sum : Vector{};
                store(plane + (size_t(y0 + i) * task.out_width + x0 + j) * kBlock, sum);
            });
    }

    template <int vectors>
    static void outputs(const WinogradTask& task, int block, const float* in, float* products) {
        const int channels = task.in_blocks * kBlock, tiles = task.num_tiles;
        const float* weights = task.weights + size_t(block) * points * channels * kBlock;
        const size_t stride = size_t(tiles) * vectors * kBlock;
        for (int p = 0; p < points; ++p)
            in_tiles(tiles, [&](auto count, int first) {
                multiply<count, vectors>(in + (size_t(p) * tiles + first) * channels,
                                         weights + size_t(p) * channels * vectors * kBlock,
                                         products + p * stride + first * vectors * kBlock,
                                         channels);
            });
        for (int t = 0; t < tiles; ++t)
            for (int v = 0; v < vectors; ++v)
                transform_output(task, task.first_tile + t, block + v,
                                 products + (t * vectors + v) * kBlock, stride);
    }

    static void run(const void* data, int, void* scratch) {
        const WinogradTask& task = *static_cast<const WinogradTask*>(data);
        const int channels = task.in_blocks * kBlock, tiles = task.num_tiles;
        float* transformed = static_cast<float*>(scratch);
        float* products = transformed + size_t(points) * tiles * channels;
        for (int t = 0; t < tiles; ++t)
            for (int b = 0; b < task.in_blocks; ++b)
                transform_input(task, task.first_tile + t, b,
                                transformed + size_t(t) * channels + b * kBlock,
                                size_t(tiles) * channels);
        const int end = task.first_block + task.num_blocks;
        int block = task.first_block;
        for (; block + 1 < end; block += 2) outputs<2>(task, block, transformed, products);
        if (block < end) outputs<1>(task, block, transformed, products);
    }
};

using None = Filter<1, 1>;

template <class F> void copy_filter_matrix(double* out) {
    for (int i = 0; i < F::A; ++i)
        for (int k = 0; k < F::R; ++k) out[i * F::R + k] = F::matrices.filter[i][k];
}

}  // namespace

extern "C" {

void winograd_3x3(const void* data, int worker, void* scratch) {
    Winograd<Filter<4, 3>, Filter<4, 3>>::run(data, worker, scratch);
}
void winograd_3x1(const void* data, int worker, void* scratch) {
    Winograd<Filter<4, 3>, None>::run(data, worker, scratch);
}
void winograd_1x3(const void* data, int worker, void* scratch) {
    Winograd<None, Filter<4, 3>>::run(data, worker, scratch);
}
void winograd_7x1(const void* data, int worker, void* scratch) {
    Winograd<Filter<4, 7>, None>::run(data, worker, scratch);
}
void winograd_1x7(const void* data, int worker, void* scratch) {
    Winograd<None, Filter<4, 7>>::run(data, worker, scratch);
}
void winograd_5x5(const void* data, int worker, void* scratch) {
    Winograd<Filter<2, 5>, Filter<2, 5>>::run(data, worker, scratch);
}

// The matrix that transforms a filter of so many taps, [M + taps - 1][taps]; returns M.
int winograd_filter_matrix(int taps, double* out) {
    switch (taps) {
        case 1: copy_filter_matrix<None>(out); return 1;
        case 3: copy_filter_matrix<Filter<4, 3>>(out); return 4;
        case 5: copy_filter_matrix<Filter<2, 5>>(out); return 2;
        case 7: copy_filter_matrix<Filter<4, 7>>(out); return 4;
    }
    return 0;
}

int block_channels() { return kBlock; }
int register_tile() { return kTiles; }

}  // extern "C"
