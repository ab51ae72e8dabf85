/* The beginning of an HTTP/1 answer. Hostile input. Pure. */
#pragma once

#include <stddef.h>

#define HTTP_STATUS_BYTES 13u /* "HTTP/1.1 200 ": no more of it is looked at */

/* The status code; 0: more bytes are needed; -1: this is no HTTP. */
int http_status(const char *p, size_t len);
