/* The flat form of config.json, as a reader that was taken over might leave it: what
 * sandbox_check() lets through can be walked by the privileged half. */
#include "tests/fuzz/fuzz.h"

#include <sched.h>

#include "shim/launch/blob.h"
#include "shim/launch/sandbox.h"

static size_t strings(const struct sandbox *sb, struct plan_range r)
{
	struct sandbox_walk w = sandbox_walk(sb, r);
	size_t n = 0;

	for (const char *s; (s = sandbox_next(&w)); n++)
		claim(strlen(s) < sb->size);
	claim(n == r.count);
	return n;
}

static void walk(const struct sandbox *sb)
{
	const struct sandbox_mount *m = sandbox_range(sb, sb->mounts, sizeof(*m));
	const struct sandbox_device *d = sandbox_range(sb, sb->devices, sizeof(*d));
	const struct sandbox_join *j = sandbox_range(sb, sb->joins, sizeof(*j));
	const struct sandbox_idmap *u = sandbox_range(sb, sb->uid_map, sizeof(*u));

	claim(m && d && j && u);
	for (uint32_t i = 0; i < sb->mounts.count; i++) {
		claim(sandbox_string(sb, m[i].target)[0] == '/');
		claim(m[i].kind < MOUNT_KINDS);
		strings(sb, m[i].options);
	}
	for (uint32_t i = 0; i < sb->devices.count; i++)
		claim(strncmp(sandbox_string(sb, d[i].path), "/dev/", 5) == 0);
	for (uint32_t i = 0; i < sb->joins.count; i++)
		claim(sandbox_string(sb, j[i].path)[0] == '/');
	touch(u, sb->uid_map.count * sizeof(*u));
	strings(sb, sb->masked);
	strings(sb, sb->readonly);
	claim(strings(sb, sb->sysctls) % 2 == 0);
	claim(strings(sb, sb->limits.unified) % 2 == 0);
	claim(sandbox_string(sb, sb->hostname) && sandbox_string(sb, sb->root));
	claim(strlen(sb->error) < sizeof(sb->error));
}

static struct plan_range words(struct blob *b, struct tape *t)
{
	static const char *const starts[] = {"/", "/dev/", "", "kernel/", "memory."};
	struct plan_range r = {0};

	for (unsigned n = tape_byte(t) % 5; n > 0; n--) {
		uint8_t how = tape_byte(t);
		char text[64];
		size_t len, at = (size_t)snprintf(text, sizeof(text), "%s", starts[how % 5]);
		const uint8_t *p = tape_span(t, how / 5 % 40, &len);

		for (size_t i = 0; i < len; i++)
			text[at + i] = (char)(p[i] ? p[i] : 'x');
		text[at + len] = '\0';
		blob_more(b, &r, text);
	}
	return r;
}

static struct plan_range mounts(struct blob *b, struct tape *t)
{
	struct sandbox_mount list[3] = {0};
	unsigned n = tape_byte(t) % 4;

	for (unsigned i = 0; i < n; i++) {
		list[i].target = words(b, t);
		list[i].source = words(b, t);
		list[i].options = words(b, t);
		list[i].kind = tape_byte(t) % (MOUNT_KINDS + 1);
	}
	return n ? blob_add(b, list, sizeof(*list), n) : (struct plan_range){0};
}

static struct plan_range devices(struct blob *b, struct tape *t)
{
	struct sandbox_device list[3] = {0};
	unsigned n = tape_byte(t) % 4;

	for (unsigned i = 0; i < n; i++) {
		list[i].path = words(b, t);
		list[i].mode = (tape_byte(t) & 15u) << 12;
	}
	return n ? blob_add(b, list, sizeof(*list), n) : (struct plan_range){0};
}

static struct plan_range joins(struct blob *b, struct tape *t)
{
	static const uint32_t types[] = {CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWPID};
	struct sandbox_join list[3] = {0};
	unsigned n = tape_byte(t) % 4;

	for (unsigned i = 0; i < n; i++) {
		list[i].path = words(b, t);
		list[i].type = types[tape_byte(t) % 4];
	}
	return n ? blob_add(b, list, sizeof(*list), n) : (struct plan_range){0};
}

/* As an honest reader writes it, more or less. */
static void fill(struct blob *b, struct sandbox *head, struct tape *t)
{
	head->root = blob_string(b, "/srv/rootfs");
	head->hostname = words(b, t);
	head->masked = words(b, t);
	head->readonly = words(b, t);
	head->sysctls = words(b, t);
	head->limits.unified = words(b, t);
	head->mounts = mounts(b, t);
	head->devices = devices(b, t);
	head->joins = joins(b, t);
	head->namespaces = (uint64_t)tape_byte(t) << 24;
}

/* And then anything, anywhere. */
static void poke(char *blob, size_t size, struct tape *t)
{
	while (t->left >= 4) {
		size_t at = tape_u32(t) % size, len;
		const uint8_t *p = tape_span(t, 1 + tape_byte(t) % 8, &len);

		if (at + len <= size && len)
			memcpy(blob + at, p, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	struct sandbox *head = calloc(1, sizeof(*head));
	struct blob b;
	char *exact;

	claim(head);
	blob_init(&b, sizeof(*head));
	fill(&b, head, &t);
	exact = malloc(b.len); /* its end is the heap's: one byte behind is seen */
	claim(exact);
	memcpy(exact, b.data, b.len);
	memcpy(exact, head, sizeof(*head));
	poke(exact, b.len, &t);
	memcpy(head, exact, sizeof(*head));
	head->magic = SANDBOX_MAGIC;
	head->size = (uint32_t)b.len;
	memcpy(exact, head, sizeof(*head));
	if (sandbox_check((const void *)exact, b.len) == 0)
		walk((const void *)exact);
	free(exact);
	free(head);
	blob_finish(&b);
	return 0;
}
