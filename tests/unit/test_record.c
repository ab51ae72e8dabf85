/* sources: ipc */
#include "tests/unit/unit.h"

#include <string.h>

#include "ipc/record.h"

#define BUF_SIZE (sizeof(struct record) + RECORD_BODY_MAX + 8)

union buf {
	uint64_t align;
	unsigned char bytes[BUF_SIZE];
};

static size_t encode(union buf *buf, size_t body_len)
{
	unsigned char body[RECORD_BODY_MAX];
	struct record head = {.type = RECORD_EXITED,
		.flags = RECORD_INFERRED,
		.seq = 42,
		.boot_usec = 1,
		.real_usec = 2,
		.run = 3};

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (unsigned char)(i * 7 + 1);
	return record_encode(buf, head, body, body_len);
}

static void round_trip(void **state)
{
	union buf buf;

	for (size_t body = 0; body <= RECORD_BODY_MAX; body++) {
		size_t len = encode(&buf, body);
		const struct record *r = (const void *)&buf;

		assert_int_equal(len % 8, 0);
		assert_int_equal(r->body_len, body);
		assert_int_equal(record_check(&buf, len, 42), len);
		assert_int_equal(record_check(&buf, len, 0), len);
		assert_int_equal(record_check(&buf, len, 43), 0);
		if (body > 1)
			assert_int_equal(((const unsigned char *)record_body(r))[1], 8);
	}
}

static void too_large(void **state)
{
	union buf buf = {0};

	assert_int_equal(
		record_encode(&buf, (struct record){.seq = 1}, &buf, RECORD_BODY_MAX + 1), 0);
}

/* Whatever single bit flips, the record is no longer one. */
static void every_bit_flip(void **state)
{
	union buf buf;
	size_t len = encode(&buf, 100);

	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			buf.bytes[i] ^= (unsigned char)(1 << bit);
			if (record_check(&buf, sizeof(buf), 0) != 0)
				fail_msg("byte %zu bit %d went unseen", i, bit);
			buf.bytes[i] ^= (unsigned char)(1 << bit);
		}
	}
	assert_int_equal(record_check(&buf, len, 42), len);
}

static void every_byte_value(void **state)
{
	union buf buf;
	size_t len = encode(&buf, 24);

	for (size_t i = 0; i < len; i++) {
		unsigned char was = buf.bytes[i];

		for (int value = 0; value < 256; value++) {
			buf.bytes[i] = (unsigned char)value;
			assert_int_equal(record_check(&buf, len, 0), value == was ? len : 0);
		}
		buf.bytes[i] = was;
	}
}

static void every_torn_tail(void **state)
{
	union buf buf;
	size_t len = encode(&buf, 333);

	for (size_t n = 0; n < len; n++)
		assert_int_equal(record_check(&buf, n, 0), 0);
	/* the file may have its size but not its blocks: zeros from some byte on */
	for (size_t n = len - 9; n-- > 0;) {
		union buf torn;

		memcpy(&torn, &buf, sizeof(buf));
		memset(torn.bytes + n, 0, sizeof(torn) - n);
		assert_int_equal(record_check(&torn, sizeof(torn), 0), 0);
	}
}

static void names(void **state)
{
	for (int type = RECORD_CREATED; type <= RECORD_WAITING; type++)
		assert_string_not_equal(record_name((uint8_t)type), "unknown");
	for (int type = RECORD_PAUSED; type <= RECORD_UPDATED; type++)
		assert_string_not_equal(record_name((uint8_t)type), "unknown");
	assert_string_equal(record_name(0), "unknown");
	assert_string_equal(record_name(255), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(too_large),
		cmocka_unit_test(every_bit_flip),
		cmocka_unit_test(every_byte_value),
		cmocka_unit_test(every_torn_tail),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
