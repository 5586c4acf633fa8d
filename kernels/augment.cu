// Training's augmentations in one pass: flip and affine by one gather, then gamma, contrast, brightness and noise; labels by
// nearest neighbour with the same geometry. Definition: fedmed/preprocess/fused/twin.py, `augment` and `augment_labels`. Launched by
// fedmed/preprocess/fused/cuda.py with blocks of 32 x 8 threads; no shared memory, no atomics.
//
//   images, out (n, c, d, h, w) float    to_voxel (n, 3, 4) double    keys (n, 2) unsigned: low and high word of the noise key
//   tones (n, 4) float: gamma, contrast, brightness, noise; the last two as a share of high - low
#include "interpolate.cuh"

#define CONSTANT_EDGE 2

// Philox2x32-10 (Salmon et al., SC 2011, section 3.3), then the sum of the eight bytes: mean 1020, variance 8 (256^2 - 1) / 12.
__device__ __forceinline__ float noise(unsigned voxel, unsigned high, unsigned key) {
  unsigned left = voxel, right = high;
#pragma unroll
  for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
    const unsigned long long product = (unsigned long long)0xD256D193u * left;
    left = (unsigned)(product >> 32) ^ key ^ right;
    right = (unsigned)product;
  }
  const unsigned pairs = (left & 0x00FF00FFu) + ((left >> 8) & 0x00FF00FFu) + (right & 0x00FF00FFu) + ((right >> 8) & 0x00FF00FFu);
  return (float)((int)(pairs & 0xFFFFu) + (int)(pairs >> 16) - 1020) * 0.0047841962f;
}

struct Tone {
  float gamma, contrast, brightness, noise;
};

__device__ __forceinline__ float toned(float value, const Tone& tone, float low, float width) {
  if (tone.gamma != 1.f) value = fmaf(width, powf(fminf(fmaxf((value - low) / width, 0.f), 1.f), tone.gamma), low);
  const float middle = fmaf(0.5f, width, low);
  return fmaf(tone.contrast, value - middle, middle) + tone.brightness * width;
}

struct Walk {
  Fixed z, y, x, step_z, step_y, step_x;
};

__device__ __forceinline__ Walk walk(const double* m, const Tile& t) {
  Walk a;
  a.z = fixed(m[0] * t.k + m[1] * t.j + m[2] * t.i + m[3]);
  a.y = fixed(m[4] * t.k + m[5] * t.j + m[6] * t.i + m[7]);
  a.x = fixed(m[8] * t.k + m[9] * t.j + m[10] * t.i + m[11]);
  a.step_z = fixed(m[0]);
  a.step_y = fixed(m[4]);
  a.step_x = fixed(m[8]);
  return a;
}

__device__ __forceinline__ void advance(Walk& a) {
  a.z += a.step_z;
  a.y += a.step_y;
  a.x += a.step_x;
}

__device__ __forceinline__ bool within(const Walk& a, int d, int h, int w, int flags) {
  return !(flags & CONSTANT_EDGE) || (inside(a.z, d) && inside(a.y, h) && inside(a.x, w));
}

__device__ __forceinline__ float in_slice(const float* slice, const Place& y, const Place& x, int w) {
  const float *top = slice + y.low * w, *bottom = slice + y.high * w;
  return lerp(lerp(__ldg(top + x.low), __ldg(top + x.high), x.share), lerp(__ldg(bottom + x.low), __ldg(bottom + x.high), x.share),
              y.share);
}

extern "C" __global__ void __launch_bounds__(256, 3)  // three blocks, 80 registers: at four it spills
    augment(const float* __restrict__ images, const double* __restrict__ to_voxel, const float* __restrict__ tones,
            const unsigned* __restrict__ keys, float* __restrict__ out, int n, int c, int d, int h, int w, float low,
            float width, float fill, int flags) {
  const long long all = tiles(n, d, h, w), plane = (long long)h * w, size = plane * d;
  for (long long number = blockIdx.x; number < all; number += gridDim.x) {
    const Tile t = tile(number, d, h, w);
    if (t.j >= h || t.i >= w) continue;
    const float* values = tones + t.volume * 4;
    const Tone tone = {values[0], values[1], values[2], values[3]};
    const unsigned key = keys[t.volume * 2], key_high = keys[t.volume * 2 + 1];
    Walk at = walk(to_voxel + t.volume * 12, t);
    for (int k = t.k; k < t.k + CHUNK && k < d; ++k, advance(at)) {
      const bool sampled = within(at, d, h, w, flags);
      const Place z = place(at.z, d), y = place(at.y, h), x = place(at.x, w);
      const long long voxel = (k * (long long)h + t.j) * w + t.i;
      for (int channel = 0; channel < c; ++channel) {
        const float* volume = images + (t.volume * c + channel) * size;
        float value = fill;
        if (sampled) value = lerp(in_slice(volume + z.low * plane, y, x, w), in_slice(volume + z.high * plane, y, x, w), z.share);
        value = toned(value, tone, low, width);
        if (tone.noise != 0.f)
          value = fmaf(tone.noise * width, noise((unsigned)(channel * size + voxel), key_high, key), value);
        out[(t.volume * c + channel) * size + voxel] = value;
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void moved(const T* __restrict__ labels, const double* __restrict__ to_voxel, T* __restrict__ out,
                                      int n, int c, int d, int h, int w, T fill, int flags) {
  const long long all = tiles(n, d, h, w), plane = (long long)h * w, size = plane * d;
  for (long long number = blockIdx.x; number < all; number += gridDim.x) {
    const Tile t = tile(number, d, h, w);
    if (t.j >= h || t.i >= w) continue;
    Walk at = walk(to_voxel + t.volume * 12, t);
    for (int k = t.k; k < t.k + CHUNK && k < d; ++k, advance(at)) {
      const bool sampled = within(at, d, h, w, flags);
      const long long from = nearest(at.z, d) * plane + (long long)nearest(at.y, h) * w + nearest(at.x, w);
      const long long to = (k * (long long)h + t.j) * w + t.i;
      for (int channel = 0; channel < c; ++channel) {
        const long long start = (t.volume * c + channel) * size;
        out[start + to] = sampled ? __ldg(labels + start + from) : fill;
      }
    }
  }
}

// Labels are moved, not computed with: one entry a width, whatever the type.
#define ENTRY(BYTES, T)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256)                                                                      \
      labels_##BYTES(const T* __restrict__ labels, const double* __restrict__ to_voxel, T* __restrict__ out, int n,      \
                     int c, int d, int h, int w, long long fill, int flags) {                                            \
    moved<T>(labels, to_voxel, out, n, c, d, h, w, (T)fill, flags);                                                      \
  }
ENTRY(1, unsigned char)
ENTRY(2, unsigned short)
ENTRY(4, unsigned)
ENTRY(8, unsigned long long)
