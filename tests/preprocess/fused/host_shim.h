// The little of CUDA that kernels/*.cu use, for a host compiler: a block is a loop, a thread its body.
#pragma once
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
struct Index { unsigned x, y, z; };
static Index blockIdx, gridDim, threadIdx;
template <typename T> inline T __ldg(const T* at) { return *at; }
inline long long __double2ll_rn(double value) { return llrint(value); }
inline unsigned short half_bits(float value) {
  _Float16 half = (_Float16)value;
  unsigned short bits;
  memcpy(&bits, &half, 2);
  return bits;
}

// Walks the unchanged __global__ entry over a grid of `blocks` and blocks of 32 x 8.
template <auto kernel> struct Walker;
template <class... A, void (*kernel)(A...)> struct Walker<kernel> {
  static void run(int blocks, A... arguments) {
    gridDim = {(unsigned)blocks, 1, 1};
    for (unsigned b = 0; b < (unsigned)blocks; ++b)
      for (unsigned y = 0; y < 8; ++y)
        for (unsigned x = 0; x < 32; ++x) {
          blockIdx = {b, 0, 0};
          threadIdx = {x, y, 0};
          kernel(arguments...);
        }
  }
};
