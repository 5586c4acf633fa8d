// Stored voxels -> modality units -> padding masked -> any affine, trilinear -> window -> float32 or float16.
// Definition: fedmed/preprocess/fused/twin.py, `resample`. Launched by fedmed/preprocess/fused/cuda.py with blocks of
// 32 x 8 threads and any number of blocks; no shared memory, no atomics: every voxel is written by one thread.
//
//   voxels (n, d, h, w) T    scale, offset (n, d)    to_voxel (n, 3, 4) double    out (n, od, oh, ow) O
//   u = voxel * scale + offset;  stored values first..last, and what is not finite, become u = fill
//   result = clamp(u, lowest, highest) * gain + base, or with the sigmoid of PS3.3 C.11.2.1.3.1 instead of the clamp
#include "interpolate.cuh"

#define SIGMOID 1
#define CONSTANT_EDGE 2

struct Finish {
  float lowest, highest, gain, base;
  int flags;
};

struct Mask {
  float first, last, fill;
};

__device__ __forceinline__ float finished(float u, const Finish& f) {
  u = f.flags & SIGMOID ? 1.f / (1.f + expf(-4.f * (u - 0.5f))) : fminf(fmaxf(u, f.lowest), f.highest);
  return fmaf(u, f.gain, f.base);
}

template <typename T>
__device__ __forceinline__ float rescaled(const T* at, float scale, float offset, const Mask& mask) {
  float stored = (float)__ldg(at);
  bool padding = (stored >= mask.first && stored <= mask.last) || !(fabsf(stored) <= 3.402823466e38f);
  return padding ? mask.fill : fmaf(stored, scale, offset);
}

// Where one output column meets the slices: offsets inside a slice and the two shares.
struct Cell {
  int top_left, top_right, bottom_left, bottom_right;
  float down, across;
};

__device__ __forceinline__ Cell cell(const Place& y, const Place& x, int w) {
  Cell c = {y.low * w + x.low, y.low * w + x.high, y.high * w + x.low, y.high * w + x.high, y.share, x.share};
  return c;
}

template <typename T>
__device__ __forceinline__ float in_slice(const T* slice, float scale, float offset, const Cell& c, const Mask& mask) {
  float top = lerp(rescaled(slice + c.top_left, scale, offset, mask), rescaled(slice + c.top_right, scale, offset, mask), c.across);
  float bottom =
      lerp(rescaled(slice + c.bottom_left, scale, offset, mask), rescaled(slice + c.bottom_right, scale, offset, mask), c.across);
  return lerp(top, bottom, c.down);
}

// Slices parallel to the output's: what a column reads is the same in every slice, and a slice is read once for all outputs
// between it and the next.
template <typename T, typename O>
__device__ __forceinline__ void parallel(const T* __restrict__ voxels, const float* __restrict__ scale,
                                         const float* __restrict__ offset, const double* __restrict__ to_voxel,
                                         O* __restrict__ out, int n, int d, int h, int w, int od, int oh, int ow,
                                         const Mask mask, const Finish finish) {
  const long long all = tiles(n, od, oh, ow), size = (long long)h * w;
  for (long long number = blockIdx.x; number < all; number += gridDim.x) {
    const Tile t = tile(number, od, oh, ow);
    if (t.j >= oh || t.i >= ow) continue;
    const double* m = to_voxel + t.volume * 12;
    const Fixed y = fixed(m[5] * t.j + m[6] * t.i + m[7]), x = fixed(m[9] * t.j + m[10] * t.i + m[11]);
    const Cell c = cell(place(y, h), place(x, w), w);
    const bool column = !(finish.flags & CONSTANT_EDGE) || (inside(y, h) && inside(x, w));
    const T* volume = voxels + t.volume * d * size;
    const float *scales = scale + t.volume * d, *offsets = offset + t.volume * d;
    Fixed z = fixed(m[0] * t.k + m[3]);
    const Fixed step = fixed(m[0]);
    int held = -2;
    float low = 0.f, high = 0.f;
    O* to = out + ((t.volume * od + t.k) * oh + t.j) * ow + t.i;
    for (int k = t.k; k < t.k + CHUNK && k < od; ++k, z += step, to += (long long)oh * ow) {
      const Place p = place(z, d);
      if (p.low != held) {
        low = p.low == held + 1 ? high : in_slice(volume + p.low * size, scales[p.low], offsets[p.low], c, mask);
        high = p.high == p.low ? low : in_slice(volume + p.high * size, scales[p.high], offsets[p.high], c, mask);
        held = p.low;
      }
      const bool within = column && (!(finish.flags & CONSTANT_EDGE) || inside(z, d));
      store(to, finished(within ? lerp(low, high, p.share) : mask.fill, finish));
    }
  }
}

template <typename T, typename O>
__device__ __forceinline__ void oblique(const T* __restrict__ voxels, const float* __restrict__ scale,
                                        const float* __restrict__ offset, const double* __restrict__ to_voxel,
                                        O* __restrict__ out, int n, int d, int h, int w, int od, int oh, int ow,
                                        const Mask mask, const Finish finish) {
  const long long all = tiles(n, od, oh, ow), size = (long long)h * w;
  for (long long number = blockIdx.x; number < all; number += gridDim.x) {
    const Tile t = tile(number, od, oh, ow);
    if (t.j >= oh || t.i >= ow) continue;
    const double* m = to_voxel + t.volume * 12;
    Fixed z = fixed(m[0] * t.k + m[1] * t.j + m[2] * t.i + m[3]);
    Fixed y = fixed(m[4] * t.k + m[5] * t.j + m[6] * t.i + m[7]);
    Fixed x = fixed(m[8] * t.k + m[9] * t.j + m[10] * t.i + m[11]);
    const Fixed step_z = fixed(m[0]), step_y = fixed(m[4]), step_x = fixed(m[8]);
    const T* volume = voxels + t.volume * d * size;
    const float *scales = scale + t.volume * d, *offsets = offset + t.volume * d;
    O* to = out + ((t.volume * od + t.k) * oh + t.j) * ow + t.i;
    for (int k = t.k; k < t.k + CHUNK && k < od; ++k, z += step_z, y += step_y, x += step_x, to += (long long)oh * ow) {
      float u = mask.fill;
      if (!(finish.flags & CONSTANT_EDGE) || (inside(z, d) && inside(y, h) && inside(x, w))) {
        const Place p = place(z, d);
        const Cell c = cell(place(y, h), place(x, w), w);
        const float low = in_slice(volume + p.low * size, scales[p.low], offsets[p.low], c, mask);
        u = lerp(low, in_slice(volume + p.high * size, scales[p.high], offsets[p.high], c, mask), p.share);
      }
      store(to, finished(u, finish));
    }
  }
}

#define ENTRY(WAY, NAME, T, O)                                                                                         \
  extern "C" __global__ void __launch_bounds__(256) WAY##_##NAME(                                                      \
      const T* __restrict__ voxels, const float* __restrict__ scale, const float* __restrict__ offset,                 \
      const double* __restrict__ to_voxel, O* __restrict__ out, int n, int d, int h, int w, int od, int oh, int ow,    \
      float first, float last, float fill, float lowest, float highest, float gain, float base, int flags) {           \
    const Mask mask = {first, last, fill};                                                                             \
    const Finish finish = {lowest, highest, gain, base, flags};                                                        \
    WAY(voxels, scale, offset, to_voxel, out, n, d, h, w, od, oh, ow, mask, finish);                                   \
  }
#define ENTRIES(WAY)                                       \
  ENTRY(WAY, uint8_float32, unsigned char, float)          \
  ENTRY(WAY, int16_float32, short, float)                  \
  ENTRY(WAY, uint16_float32, unsigned short, float)        \
  ENTRY(WAY, float32_float32, float, float)                \
  ENTRY(WAY, uint8_float16, unsigned char, Half)           \
  ENTRY(WAY, int16_float16, short, Half)                   \
  ENTRY(WAY, uint16_float16, unsigned short, Half)         \
  ENTRY(WAY, float32_float16, float, Half)

ENTRIES(parallel)
ENTRIES(oblique)
