/* JSON on stdout. Messages of the API appear with the names of their .proto: fields and enum values
 * as written there, 64-bit numbers as numbers, bytes in base64. Protobuf's own JSON readers take
 * it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

/* A string; what is no UTF-8 in it becomes U+FFFD, all but printable ASCII is escaped. */
void json_text(const char *s);

/* A document that a library has written: its strings come out as those of json_text(), the rest as
 * it is. */
void json_document(const char *s);

/* `"NAME": ` and `, ` before it unless it is the first. */
void json_name(bool *first, const char *name);

/* Whether a field is shown; NULL: all are. Absent messages and members of a oneof never are. */
typedef bool (*json_wanted)(const void *ctx, const char *field);

/* The fields of an object, without its braces, behind what is there already. */
void json_fields(bool *first, const ProtobufCMessage *m, json_wanted wanted, const void *ctx);
void json_message(const ProtobufCMessage *m); /* {...} */
