#include <stddef.h>
#include <stdint.h>

/* Whether this processor has the instructions that the others need. */
int capstan_sha256_there(void);

/* Take blocks of 64 bytes into one state, or into each of two. */
void capstan_sha256_one(uint32_t *state, const uint8_t *data, size_t blocks);
void capstan_sha256_two(uint32_t *state0, const uint8_t *data0, uint32_t *state1, const uint8_t *data1, size_t blocks);
