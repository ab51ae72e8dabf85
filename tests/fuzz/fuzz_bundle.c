/* config.json: whatever it says, it is refused with a sentence or becomes a flat form that the
 * privileged half takes. */
#include "tests/fuzz/fuzz.h"

#include "ipc/base/fault.h"
#include "shim/launch/bundle.h"

#define JSON_MAX (64u << 10)

static struct settings settings;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	policy_defaults(&settings.policy);
	snprintf(settings.id, sizeof(settings.id), "fuzz");
	snprintf(settings.cgroup, sizeof(settings.cgroup), "/holdfast/local/fuzz");
	snprintf(settings.bundle, sizeof(settings.bundle), "/bundle");
	return 0;
}

static void plan_holds(const struct bundle *b)
{
	const struct plan *p = (const void *)b->plan_blob.data;

	claim(plan_range(p, p->argv, 1) && p->argv.count >= 1);
	claim(plan_range(p, p->cwd, 1) && p->cwd.count == 1);
	claim(!p->envp.count || plan_range(p, p->envp, 1));
	claim(!p->rlimits.count || plan_range(p, p->rlimits, sizeof(struct plan_rlimit)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t kinds[] = {0, SETTINGS_TTY, SETTINGS_NO_INIT, SETTINGS_HOST_ROOT,
		SETTINGS_DEFAULT_SECCOMP, SETTINGS_NOTIFY};
	struct tape t = {data, size};
	struct bundle b = {.set = &settings, .cpus = 4, .state_dir = "/run/holdfast/local/fuzz"};
	const uint8_t *bytes;
	char *text;
	size_t len;
	int r;

	settings.flags = kinds[tape_byte(&t) % (sizeof(kinds) / sizeof(kinds[0]))];
	bytes = tape_span(&t, JSON_MAX, &len);
	text = malloc(len + 1);
	claim(text);
	memcpy(text, bytes, len);
	text[len] = '\0';
	r = bundle_read(&b, text, len);
	if (r < 0) {
		claim(fault_text()[0]);
	} else {
		bundle_seal(&b);
		claim(sandbox_check((const void *)b.blob.data, b.blob.len) == 0);
		plan_holds(&b);
	}
	bundle_finish(&b);
	free(text);
	return 0;
}
