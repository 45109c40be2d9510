/* big_endian.h -- numbers as MessagePack has them, the most significant byte first.
 *
 * Written byte by byte, which compilers make one load or store of; a loop over the bytes they do
 * not.
 *
 * Threads    Pure functions.
 */
#ifndef ENGINE_BIG_ENDIAN_H
#define ENGINE_BIG_ENDIAN_H

#include <stdint.h>

static inline uint32_t load_be16(const uint8_t *at) {
    return (uint32_t) at[0] << 8 | at[1];
}
static inline uint32_t load_be32(const uint8_t *at) {
    return (uint32_t) at[0] << 24 | (uint32_t) at[1] << 16 | (uint32_t) at[2] << 8 | at[3];
}
static inline uint64_t load_be64(const uint8_t *at) {
    return (uint64_t) load_be32(at) << 32 | load_be32(at + 4);
}

static inline void store_be16(uint8_t *at, uint32_t n) {
    at[0] = (uint8_t) (n >> 8);
    at[1] = (uint8_t) n;
}
static inline void store_be32(uint8_t *at, uint32_t n) {
    at[0] = (uint8_t) (n >> 24);
    at[1] = (uint8_t) (n >> 16);
    at[2] = (uint8_t) (n >> 8);
    at[3] = (uint8_t) n;
}
static inline void store_be64(uint8_t *at, uint64_t n) {
    store_be32(at, (uint32_t) (n >> 32));
    store_be32(at + 4, (uint32_t) n);
}

#endif /* ENGINE_BIG_ENDIAN_H */
