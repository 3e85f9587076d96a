//go:build cgo && linux && amd64

#include "lanes.h"

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define EACH for (int l = 0; l < lanes; l++)

/* FIPS 180-4, 4.2.2. */
static const uint32_t constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

int capstan_sha256_there(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) {
		return 0;
	}
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/*
 * The instructions keep a state as the words abef and cdgh (Intel, "Intel SHA
 * Extensions", 2013). Four rounds take four words of the schedule; the twelve
 * first groups of rounds also make the words of the group four later.
 */
TARGET static inline __attribute__((always_inline)) void
take(const int lanes, uint32_t *const state[2], const uint8_t *const from[2], size_t blocks)
{
	const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
	const uint8_t *data[2];
	__m128i abef[2], cdgh[2];
	EACH {
		data[l] = from[l];
		__m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state[l]), 0xB1);
		__m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state[l] + 4)), 0x1B);
		abef[l] = _mm_alignr_epi8(badc, hgfe, 8);
		cdgh[l] = _mm_blend_epi16(hgfe, badc, 0xF0);
	}
	for (; blocks > 0; blocks--) {
		__m128i abef0[2], cdgh0[2], words[2][4];
		EACH {
			abef0[l] = abef[l];
			cdgh0[l] = cdgh[l];
			for (int i = 0; i < 4; i++) {
				words[l][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data[l] + 16 * i)), order);
			}
			data[l] += 64;
		}
#pragma GCC unroll 16
		for (int r = 0; r < 16; r++) {
			const __m128i add = _mm_load_si128((const __m128i *)(constants + 4 * r));
			__m128i sum[2];
			EACH {
				sum[l] = _mm_add_epi32(words[l][r & 3], add);
				cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], sum[l]);
			}
			EACH {
				abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(sum[l], 0x0E));
			}
			if (r < 12) {
				EACH {
					__m128i *w = words[l], last = w[(r + 3) & 3];
					__m128i part = _mm_sha256msg1_epu32(w[r & 3], w[(r + 1) & 3]);
					part = _mm_add_epi32(part, _mm_alignr_epi8(last, w[(r + 2) & 3], 4));
					w[r & 3] = _mm_sha256msg2_epu32(part, last);
				}
			}
		}
		EACH {
			abef[l] = _mm_add_epi32(abef[l], abef0[l]);
			cdgh[l] = _mm_add_epi32(cdgh[l], cdgh0[l]);
		}
	}
	EACH {
		__m128i feba = _mm_shuffle_epi32(abef[l], 0x1B);
		__m128i dchg = _mm_shuffle_epi32(cdgh[l], 0xB1);
		_mm_storeu_si128((__m128i *)state[l], _mm_blend_epi16(feba, dchg, 0xF0));
		_mm_storeu_si128((__m128i *)(state[l] + 4), _mm_alignr_epi8(dchg, feba, 8));
	}
}

TARGET void capstan_sha256_one(uint32_t *state, const uint8_t *data, size_t blocks)
{
	uint32_t *const states[2] = {state, 0};
	const uint8_t *const all[2] = {data, 0};
	take(1, states, all, blocks);
}

TARGET void capstan_sha256_two(uint32_t *state0, const uint8_t *data0, uint32_t *state1, const uint8_t *data1, size_t blocks)
{
	uint32_t *const states[2] = {state0, state1};
	const uint8_t *const all[2] = {data0, data1};
	take(2, states, all, blocks);
}
