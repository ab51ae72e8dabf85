/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/listen.h"
#include "ipc/stored.h"
#include "tests/unit/scratch.h"

static void test_grammar(void **state)
{
	static const struct {
		const char *text, *name, *shown;
		uint32_t type;
	} rows[] = {
		{"80", "unknown", "tcp:80", SOCK_STREAM},
		{"65535", "unknown", "tcp:65535", SOCK_STREAM},
		{"tcp:80", "unknown", "tcp:80", SOCK_STREAM},
		{"udp:53", "unknown", "udp:53", SOCK_DGRAM},
		{"127.0.0.1:1", "unknown", "tcp:127.0.0.1:1", SOCK_STREAM},
		{"udp:0.0.0.0:9", "unknown", "udp:0.0.0.0:9", SOCK_DGRAM},
		{"[::1]:8080", "unknown", "tcp:[::1]:8080", SOCK_STREAM},
		{"tcp:[::]:8080", "unknown", "tcp:[::]:8080", SOCK_STREAM},
		{"udp:[fe80::1]:7", "unknown", "udp:[fe80::1]:7", SOCK_DGRAM},
		{"web=80", "web", "tcp:80", SOCK_STREAM},
		{"a.B-c_9=unix:/run/x", "a.B-c_9", "unix:/run/x", SOCK_STREAM},
		{"unix:/run/x", "unknown", "unix:/run/x", SOCK_STREAM},
		{"/run/x", "unknown", "unix:/run/x", SOCK_STREAM},
		{"unix:@x", "unknown", "unix:@x", SOCK_STREAM},
		{"@x=y", "unknown", "unix:@x=y", SOCK_STREAM},
		{"unix:/a=b", "unknown", "unix:/a=b", SOCK_STREAM},
		{"n=/a=b", "n", "unix:/a=b", SOCK_STREAM},
		{"unix-dgram:/x", "unknown", "unix-dgram:/x", SOCK_DGRAM},
		{"unix-seqpacket:@x", "unknown", "unix-seqpacket:@x", SOCK_SEQPACKET},
		{"unix:/a,b", "unknown", "unix:/a,b", SOCK_STREAM},
		{"unix:/a,mode=0600", "unknown", "unix:/a", SOCK_STREAM},
		{"unix:/a,b,owner=1:2,mode=700", "unknown", "unix:/a,b", SOCK_STREAM},
		{"unix:@a,mode=0600", "unknown", "unix:@a,mode=0600", SOCK_STREAM},
	};
	struct listen_addr a;

	for (size_t i = 0; i < array_size(rows); i++) {
		assert_int_equal(listen_parse(rows[i].text, &a), 0);
		assert_string_equal(a.name, rows[i].name);
		assert_string_equal(listen_text(&a), rows[i].shown);
		assert_int_equal(a.type, rows[i].type);
	}
}

static void test_modes_and_owners(void **state)
{
	struct listen_addr a;

	assert_int_equal(listen_parse("/x", &a), 0);
	assert_int_equal(a.mode, 0666);
	assert_int_equal(a.uid, 0);
	assert_int_equal(listen_parse("/x,mode=640,owner=1000:4294967294", &a), 0);
	assert_int_equal(a.mode, 0640);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.gid, 4294967294);
	assert_string_equal(listen_path(&a), "/x");
	assert_int_equal(listen_parse("@x", &a), 0);
	assert_null(listen_path(&a));
	assert_int_equal(listen_parse("80", &a), 0);
	assert_null(listen_path(&a));
	assert_int_equal(a.both, 1);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"", "=", "=80", "web=", "a b=80", "0", "65536", "-1",
		"+1", " 80", "80 ", "0x50", "8_0", ":80", "1.2.3:80", "1.2.3.4",
		"1.2.3.4:", "1.2.3.4:0", "localhost:80", "::1:80", "[::1]", "[::1]:", "[::1]80",
		"[::1:80", "[]:80", "[1.2.3.4]:80", "tcp:", "udp:", "unix:", "unix:x", "unix:/",
		"unix:/a/", "unix:@", "unix:/a,mode=", "unix:/a,mode=8", "unix:/a,mode=01000",
		"unix:/a,mode=-1", "unix:/a,owner=1", "unix:/a,owner=:1",
		"unix:/a,owner=1:", "unix:/a,owner=a:b", "unix:,mode=0600", "sctp:80",
		"tcp:web=80"};
	char text[600];
	struct listen_addr a;

	for (size_t i = 0; i < array_size(bad); i++) {
		assert_int_equal(listen_parse(bad[i], &a), -EINVAL);
		snprintf(text, sizeof(text), "--listen \"%s\": ", bad[i]);
		assert_memory_equal(fault_text(), text, strlen(text));
	}
	for (int over = 0; over < 2; over++) { /* 107 bytes fit, 108 do not */
		memset(text, 'x', sizeof(text));
		memcpy(text, "unix:/", 6);
		text[5 + 107 + over] = '\0';
		assert_int_equal(listen_parse(text, &a), over ? -EINVAL : 0);
	}
	for (int over = 0; over < 2; over++) {
		memset(text, 'x', sizeof(text));
		memcpy(text + 255 + over, "=80", 4);
		assert_int_equal(listen_parse(text, &a), over ? -EINVAL : 0);
	}
}

static void test_list_in_the_state_directory(void **state)
{
	struct scratch *dir = *state;
	static struct listen_addr list[LISTEN_MAX], back[LISTEN_MAX];
	auto_fd fd = -1;

	assert_int_equal(listen_read(dir->fd, back), 0);
	assert_int_equal(listen_write(dir->fd, list, 0), 0);
	assert_int_equal(faccessat(dir->fd, "listeners", F_OK, 0), -1);
	assert_int_equal(listen_parse("web=80", &list[0]), 0);
	assert_int_equal(listen_parse("unix:/x,mode=0600", &list[1]), 0);
	assert_int_equal(listen_write(dir->fd, list, 2), 0);
	assert_int_equal(listen_read(dir->fd, back), 2);
	assert_memory_equal(list, back, 2 * sizeof(*list));
	fd = openat(dir->fd, "listeners", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, sizeof(*list) + 1), 0);
	assert_int_equal(listen_read(dir->fd, back), -EBADMSG);
	memset(&list[0], 'x', sizeof(list[0]));
	assert_int_equal(listen_write(dir->fd, list, 1), 0);
	assert_int_equal(listen_read(dir->fd, back), -EBADMSG);
}

static void test_stored_names(void **state)
{
	struct scratch *dir = *state;
	static struct stored_name back[PLAN_STORED_MAX];
	struct stored_name names[2] = {{.key = 7, .name = "a"}, {.key = 9, .name = "b c"}};

	assert_int_equal(stored_read(dir->fd, back), 0);
	assert_int_equal(stored_write(dir->fd, names, 2), 0);
	assert_int_equal(stored_read(dir->fd, back), 2);
	assert_memory_equal(names, back, sizeof(names));
	memset(names[1].name, 'x', sizeof(names[1].name));
	assert_int_equal(stored_write(dir->fd, names, 2), 0);
	assert_int_equal(stored_read(dir->fd, back), 2);
	assert_int_equal(strlen(back[1].name), PLAN_NAME_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_modes_and_owners),
		cmocka_unit_test(test_refused),
		cmocka_unit_test_setup_teardown(
			test_list_in_the_state_directory, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_stored_names, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
