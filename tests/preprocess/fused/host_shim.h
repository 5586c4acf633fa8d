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

// Walks the unchanged __global__ entry over a grid of `blocks` and blocks of 32 x 8, forwards or backwards.
template <auto kernel> struct Walker;
template <class... A, void (*kernel)(A...)> struct Walker<kernel> {
  static void run(int blocks, int backwards, A... arguments) {
    gridDim = {(unsigned)blocks, 1, 1};
    const unsigned all = (unsigned)blocks * 256;
    for (unsigned step = 0; step < all; ++step) {
      const unsigned number = backwards ? all - 1 - step : step;
      blockIdx = {number / 256, 0, 0};
      threadIdx = {number % 32, number / 32 % 8, 0};
      kernel(arguments...);
    }
  }
};
