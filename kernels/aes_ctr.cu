// Masks: AES-128 keystreams in counter mode (FIPS 197; NIST SP 800-38A, 6.5), added to the lanes of a vector in place.
// Definition: fedmed/privacy/secagg/masks.py, `apply`, to the last bit. Launched by fedmed/privacy/secagg/cuda.py with blocks of
// 32 x 8 threads; no shared memory, no atomics.
//
//   streams (n, 91) unsigned: 11 round keys of 8 bit planes, the two words of the nonce's prefix, and 0 to add or ~0 to take off
//   lanes (pieces, 8) unsigned: two blocks of the cipher each, that is 8 lanes of 32 bits or 16 of 16
//   first: number of the segment of 4 MiB that the lanes begin with
//
// The cipher is bitsliced: a thread holds two blocks as eight planes, plane b with bit b of all 32 bytes. There is no table and
// no branch or address that depends on a key, so nobody who shares the card learns a key from the time that this takes.
#ifndef __CUDACC_RTC__
#include "host_shim.h"  // no GPU: the tests compile this source for the host (tests/preprocess/fused)
#endif

#define ROUNDS 10
#define PLANES 8
#define KEYS ((ROUNDS + 1) * PLANES)
#define ROW (KEYS + 3)
#define SEGMENT 17  // 2^17 pieces of 32 bytes

typedef unsigned Word;
typedef Word State[PLANES];  // bit 8 r + 2 c + k of each plane: row r and column c of block k

__device__ __forceinline__ void exchange(Word& x, Word& y, int by, Word low) {
  const Word differs = ((x >> by) ^ y) & low;
  y ^= differs;
  x ^= differs << by;
}

// Words to planes, and planes to words: word 2 w + k is the w-th of block k. Four 8 x 8 matrices of bits are transposed.
__device__ __forceinline__ void transpose(State& q) {
#pragma unroll
  for (int i = 0; i < PLANES; i += 2) exchange(q[i], q[i + 1], 1, 0x55555555u);
#pragma unroll
  for (int i = 0; i < PLANES; ++i)
    if (!(i & 2)) exchange(q[i], q[i + 2], 2, 0x33333333u);
#pragma unroll
  for (int i = 0; i < 4; ++i) exchange(q[i], q[i + 4], 4, 0x0F0F0F0Fu);
}

// SubBytes as the circuit of J. Boyar and R. Peralta, "A small depth-16 circuit for the AES S-box" (2011), with their names:
// 34 multiplications and 94 additions of bits, of which the compiler makes fewer instructions of three inputs.
__device__ __forceinline__ void substitute(State& q) {
  const Word x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4], x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];
  const Word y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2, y1 = t0 ^ x7, y4 = y1 ^ x3;
  const Word y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8, t1 = x4 ^ y12, y15 = t1 ^ x5, y20 = t1 ^ x1;
  const Word y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9, y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8;
  const Word y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

  const Word t2 = y12 & y15, t4 = (y3 & y6) ^ t2, t6 = (y4 & x7) ^ t2, t7 = y13 & y16, t9 = (y5 & y1) ^ t7;
  const Word t11 = (y2 & y7) ^ t7, t12 = y9 & y11, t14 = (y14 & y17) ^ t12, t16 = (y8 & y10) ^ t12;
  const Word t21 = t4 ^ t14 ^ y20, t22 = t6 ^ t16 ^ y19, t23 = t9 ^ t14 ^ y21, t24 = t11 ^ t16 ^ y18;
  const Word t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t29 = (t25 & t27) ^ t22, t30 = t23 ^ t24;
  const Word t33 = ((t22 ^ t26) & t30) ^ t24, t36 = t24 & (t27 ^ t33), t37 = t36 ^ t23 ^ t33;
  const Word t40 = t25 ^ (t29 & (t27 ^ t36)), t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
  const Word t45 = t42 ^ t41;

  const Word z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7, z6 = t42 & y11;
  const Word z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4, z12 = t43 & y13;
  const Word z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

  const Word t46 = z15 ^ z16, t48 = z5 ^ z13, t53 = z0 ^ z3, t57 = z2 ^ z12 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ z6 ^ z7;
  const Word t62 = z7 ^ z8 ^ t58, t63 = z9 ^ z10 ^ t58, t64 = z4 ^ t59, t65 = z14 ^ t57 ^ t62, t66 = z1 ^ t63;
  const Word s3 = t53 ^ t66;
  q[7] = t59 ^ t63;
  q[6] = ~(t64 ^ s3);
  q[5] = ~(z16 ^ z17 ^ t64 ^ t65);
  q[4] = s3;
  q[3] = z2 ^ z5 ^ t66;
  q[2] = z10 ^ z11 ^ t65;
  q[1] = ~(z12 ^ t48 ^ t62);
  q[0] = ~(t48 ^ t46 ^ t57);
}

// Row r moves left by r columns: rows 2 and 3 by two, then rows 1 and 3 by one.
__device__ __forceinline__ void shift_rows(State& q) {
#pragma unroll
  for (int i = 0; i < PLANES; ++i) {
    const Word x = q[i], halves = ((x >> 4) ^ x) & 0x0F0F0000u, half = x ^ halves ^ (halves << 4);
    q[i] = (half & 0x00FF00FFu) | ((half >> 2) & 0x3F003F00u) | ((half << 6) & 0xC000C000u);
  }
}

__device__ __forceinline__ Word turned(Word x, int by) { return (x >> by) | (x << (32 - by)); }

// Each byte a of a column becomes 2 (a + b) + b + c + d, where b, c, d are those in the rows below; 2 is a step up the planes.
__device__ __forceinline__ void mix_columns(State& q) {
  State below, both;
#pragma unroll
  for (int i = 0; i < PLANES; ++i) {
    below[i] = turned(q[i], 8);
    both[i] = q[i] ^ below[i];
  }
#pragma unroll
  for (int i = 0; i < PLANES; ++i) {
    const Word carry = i == 1 || i == 3 || i == 4 ? both[7] : 0;  // x^8 = x^4 + x^3 + x + 1
    q[i] = both[(i + 7) % PLANES] ^ carry ^ below[i] ^ turned(both[i], 16);
  }
}

__device__ __forceinline__ void add_key(State& q, const Word* key) {
#pragma unroll
  for (int i = 0; i < PLANES; ++i) q[i] ^= __ldg(key + i);
}

__device__ __forceinline__ void encrypt(State& q, const Word* keys) {
  transpose(q);
  add_key(q, keys);
#pragma unroll 1  // the code of one round stays in the instruction cache
  for (int round = 1; round < ROUNDS; ++round) {
    substitute(q);
    shift_rows(q);
    mix_columns(q);
    add_key(q, keys + round * PLANES);
  }
  substitute(q);
  shift_rows(q);
  add_key(q, keys + ROUNDS * PLANES);
  transpose(q);
}

__device__ __forceinline__ Word big_endian(Word x) {
  return (x >> 24) | ((x >> 8) & 0xFF00u) | ((x << 8) & 0xFF0000u) | (x << 24);
}

// Lanes of `bits`, one or two to a word.
template <int bits> __device__ __forceinline__ Word sum(Word a, Word b) {
  return bits == 32 ? a + b : ((a & 0x7FFF7FFFu) + (b & 0x7FFF7FFFu)) ^ ((a ^ b) & 0x80008000u);
}

template <int bits>
__device__ __forceinline__ void masked(const Word* streams, Word* lanes, int count, long long pieces, int first) {
  const long long start = (long long)blockIdx.x * 256 + threadIdx.y * 32 + threadIdx.x;
  for (long long piece = start; piece < pieces; piece += (long long)gridDim.x * 256) {
    const Word segment = big_endian((Word)first + (Word)(piece >> SEGMENT));
    const Word counter = 2 + 2 * ((Word)piece & ((1u << SEGMENT) - 1));
    Word total[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) total[i] = lanes[8 * piece + i];
    for (int n = 0; n < count; ++n) {
      const Word *keys = streams + (long long)n * ROW, *head = keys + KEYS;
      const Word left = __ldg(head), right = __ldg(head + 1), flip = __ldg(head + 2);
      State q = {left, left, right, right, segment, segment, big_endian(counter), big_endian(counter + 1)};
      encrypt(q, keys);
#pragma unroll
      for (int i = 0; i < 8; ++i)  // a - b is ~(~a + b)
        total[i] = sum<bits>(total[i] ^ flip, q[2 * (i % 4) + i / 4]) ^ flip;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) lanes[8 * piece + i] = total[i];
  }
}

#define ENTRY(BITS)                                                                                                      \
  extern "C" __global__ void __launch_bounds__(256) masked_##BITS(                                                       \
      const Word* __restrict__ streams, Word* __restrict__ lanes, int count, long long pieces, int first) {              \
    masked<BITS>(streams, lanes, count, pieces, first);                                                                  \
  }

ENTRY(16)
ENTRY(32)
