#include "cli/json.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT 0xfffdu
#define SURROGATES  0xd800u

/* The code point at s, and its bytes. */
static uint32_t code_point(const unsigned char *s, size_t *len)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} kinds[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	*len = 1;
	for (size_t more = 0; more < 4; more++) {
		uint32_t c = s[0] & (unsigned char)~kinds[more].mask;

		if ((s[0] & kinds[more].mask) != kinds[more].lead)
			continue;
		for (size_t i = 1; i <= more; i++) {
			if ((s[i] & 0xc0) != 0x80) /* also the NUL at the end */
				return REPLACEMENT;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < kinds[more].least || c > 0x10ffff || (c & ~0x7ffu) == SURROGATES)
			return REPLACEMENT;
		*len = more + 1;
		return c;
	}
	return REPLACEMENT;
}

static void escape(uint32_t c)
{
	if (c == '"' || c == '\\')
		printf("\\%c", (char)c);
	else if (c == '\n' || c == '\t')
		fputs(c == '\n' ? "\\n" : "\\t", stdout);
	else if (c >= 0x20 && c < 0x7f)
		putchar((int)c);
	else if (c < 0x10000)
		printf("\\u%04" PRIx32, c);
	else
		printf("\\u%04" PRIx32 "\\u%04" PRIx32, SURROGATES + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
}

void json_text(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len;

	putchar('"');
	for (; *p; p += len)
		escape(code_point(p, &len));
	putchar('"');
}

void json_document(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len;

	for (; *p; p += len) {
		uint32_t c = code_point(p, &len);

		if (c >= 0x20 && c < 0x7f)
			putchar((int)c);
		else if (c >= 0x7f)
			escape(c);
	}
}

static void bytes(const ProtobufCBinaryData *b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	putchar('"');
	for (size_t i = 0; i < b->len; i += 3) {
		size_t n = b->len - i < 3 ? b->len - i : 3;
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < n ? b->data[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			putchar(k <= n ? digits[v >> (18 - 6 * k) & 63] : '=');
	}
	putchar('"');
}

void json_name(bool *first, const char *name)
{
	if (!*first)
		fputs(", ", stdout);
	*first = false;
	json_text(name);
	fputs(": ", stdout);
}

static void enum_name(const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);

	if (v)
		json_text(v->name);
	else
		printf("%d", value); /* of a later version */
}

/* One value of the field's type. */
static void value(const ProtobufCFieldDescriptor *f, const void *at)
{
	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_INT32:
		printf("%" PRId32, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
		printf("%" PRIu32, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		printf("%" PRIu64, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)at ? "true" : "false", stdout);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		printf("%.2f", *(const double *)at);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		enum_name(f->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		json_text(*(char *const *)at);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes(at);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		json_message(*(ProtobufCMessage *const *)at);
		break;
	default: /* the .proto has no others */
		fputs("null", stdout);
	}
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

static void repeated(const ProtobufCFieldDescriptor *f, const char *m)
{
	size_t n = *(const size_t *)(const void *)(m + f->quantifier_offset);
	const char *items = *(char *const *)(const void *)(m + f->offset);

	putchar('[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			fputs(", ", stdout);
		value(f, items + i * size_of(f));
	}
	putchar(']');
}

static bool present(const ProtobufCFieldDescriptor *f, const char *m)
{
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(const void *)(m + f->quantifier_offset) == f->id;
	return f->label == PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE ||
	       *(void *const *)(const void *)(m + f->offset);
}

void json_fields(bool *first, const ProtobufCMessage *m, json_wanted wanted, const void *ctx)
{
	const char *base = (const char *)m;

	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];

		if (!present(f, base) || (wanted && !wanted(ctx, f->name)))
			continue;
		json_name(first, f->name);
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			repeated(f, base);
		else
			value(f, base + f->offset);
	}
}

void json_message(const ProtobufCMessage *m)
{
	bool first = true;

	putchar('{');
	json_fields(&first, m, NULL, NULL);
	putchar('}');
}
