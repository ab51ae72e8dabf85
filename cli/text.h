/* Text for people: nothing that a container chose reaches the terminal unescaped. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Copies src, every byte that is not printable ASCII as \n, \t or \xNN; cuts what does not fit.
 * Returns the length written. */
size_t text_escape(char *dst, size_t size, const char *src, size_t len);

/* "3s", "2 min", "5 h", "12 d": the largest unit that fits. */
void text_age(char *dst, size_t size, uint64_t usec);

/* Prints rows as a table: cells are NUL-terminated, columns as wide as their widest cell. */
void text_table(const char *const *cells, size_t rows, size_t columns);
