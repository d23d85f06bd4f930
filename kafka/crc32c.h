/* CRC-32C (Castagnoli) as Kafka uses it, and its linearity: the checksum of bytes whose beginning changed follows
 * from the old checksum and the change, without touching the rest. Hardware instructions where the processor has
 * them, tables elsewhere; both are tested against each other. */
#ifndef FERRY_KAFKA_CRC32C_H
#define FERRY_KAFKA_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Checksum of `len` bytes; `crc` is the checksum of what came before, 0 at the beginning. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The raw register (no inversion before or after) after `len` bytes that begin from register 0: linear in the data. */
uint32_t crc32c_raw(const void *data, size_t len);
/* The raw register after `zeros` zero bytes: register * x^(8 * zeros) mod P. O(1) table steps per byte of `zeros`. */
uint32_t crc32c_shift(uint32_t raw, uint64_t zeros);
/* Portable twins, for the tests and for processors without the instructions. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);
uint32_t crc32c_shift_portable(uint32_t raw, uint64_t zeros);

#endif
