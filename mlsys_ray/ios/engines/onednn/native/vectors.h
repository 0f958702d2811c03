#pragma once
// What the kernels share: vectors of the machine's width, register tiles, loops known at compile
// time.

#include <cstddef>
#include <cstdint>
#include <utility>

#ifdef __AVX512F__
constexpr int kBlock = 16;
constexpr int kTiles = 8;  // a register tile: 8 points x 2 vectors, fewer loads than with 12
#else
constexpr int kBlock = 8;
constexpr int kTiles = 6;  // 6 points x 2 vectors of the 16 registers
#endif
typedef float Vector __attribute__((vector_size(kBlock * 4)));

inline Vector load(const float* at) { return *reinterpret_cast<const Vector*>(at); }
// Keeps what was loaded in a register: compilers would rather load it anew for each use.
inline Vector held(const float* at) {
    Vector x = load(at);
#ifdef __AVX__
    asm("" : "+v"(x));
#endif
    return x;
}
inline void store(float* at, Vector x) { *reinterpret_cast<Vector*>(at) = x; }

template <int N, class Function> inline __attribute__((always_inline)) void unroll(Function f) {
    [&]<int... i>(std::integer_sequence<int, i...>) {
        (f(std::integral_constant<int, i>{}), ...);
    }(std::make_integer_sequence<int, N>{});
}

// Calls f with a register tile's worth of points at a time, the last time with what is left:
// f(number known at compile time, first).
template <class Function> inline void in_tiles(int count, Function f) {
    int first = 0;
    for (; first + kTiles <= count; first += kTiles) f(std::integral_constant<int, kTiles>{}, first);
    unroll<kTiles>([&](auto rest) {
        if constexpr (rest > 0)
            if (count - first == rest) f(rest, first);
    });
}
