// What both kernels share: coordinates, half precision, division of the grid.
//
// Coordinates are computed in double once per thread and then walked in 32.32 fixed point, where additions are exact: a
// float32 coordinate is off by 3e-5 voxels at voxel 512, and doubles run at 1/32 to 1/64 of the speed on small GPUs.
#pragma once
#ifndef __CUDACC_RTC__
#include "host_shim.h"  // no GPU: the tests compile these sources for the host (tests/preprocess/fused)
#endif

typedef long long Fixed;      // voxels, in units of 2^-32
typedef unsigned short Half;  // the bits of an IEEE binary16

#ifdef __CUDACC_RTC__
__device__ __forceinline__ Half half_bits(float value) {  // rounds to nearest, ties to even
  Half bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

#define HALF_VOXEL ((Fixed)2147483648LL + 4295)  // 1/2 + TIE of fedmed/preprocess/fused/arguments.py
#define CHUNK 8                                  // slices that one thread walks

__device__ __forceinline__ Fixed fixed(double voxels) { return __double2ll_rn(voxels * 4294967296.0); }

struct Place {
  int low, high;  // the two voxels around a coordinate, clamped to the volume
  float share;    // of `high`
};

__device__ __forceinline__ Place place(Fixed at, int count) {
  Place p;
  Fixed clamped = at < 0 ? 0 : at;
  p.low = (int)(clamped >> 32);
  p.share = (float)(unsigned)clamped * 2.3283064365386963e-10f;
  if (p.low >= count - 1) {
    p.low = count - 1;
    p.share = 0.f;
  }
  p.high = p.low + 1 < count ? p.low + 1 : p.low;
  return p;
}

__device__ __forceinline__ bool inside(Fixed at, int count) {
  return at >= -HALF_VOXEL && at <= ((Fixed)(count - 1) << 32) + HALF_VOXEL;
}

__device__ __forceinline__ int nearest(Fixed at, int count) {  // ties go up
  Fixed up = at + HALF_VOXEL;
  if (up < 0) return 0;
  int index = (int)(up >> 32);
  return index < count ? index : count - 1;
}

__device__ __forceinline__ float lerp(float a, float b, float share) { return fmaf(share, b - a, a); }

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(Half* to, float value) { *to = half_bits(value); }

// One tile of the output: 32 x 8 columns of one volume, CHUNK slices deep. Lanes of a warp own neighbouring voxels, so that
// their gathers share cache lines and their stores fill whole ones.
struct Tile {
  long long volume;
  int k, j, i;
};

__device__ __forceinline__ long long tiles(int volumes, int depth, int height, int width) {
  return (long long)volumes * ((depth + CHUNK - 1) / CHUNK) * ((height + 7) / 8) * ((width + 31) / 32);
}

__device__ __forceinline__ Tile tile(long long number, int depth, int height, int width) {
  Tile t;
  int across = (width + 31) / 32, down = (height + 7) / 8, deep = (depth + CHUNK - 1) / CHUNK;
  t.i = (int)(number % across) * 32 + threadIdx.x;
  number /= across;
  t.j = (int)(number % down) * 8 + threadIdx.y;
  number /= down;
  t.k = (int)(number % deep) * CHUNK;
  t.volume = number / deep;
  return t;
}
