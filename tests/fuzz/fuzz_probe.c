/* --probe's word and what is written back of it; the first bytes of an HTTP answer. */
#include "tests/fuzz/fuzz.h"

#include "ipc/health.h"
#include "monitor/http_status.h"

static void answer(const uint8_t *data, size_t size)
{
	int before = 0;

	for (size_t n = 0; n <= size; n++) {
		int status = http_status((const char *)data, n);

		claim(status >= -1 && status <= 999);
		claim(before == 0 || status == before); /* more bytes never change a verdict */
		before = n >= HTTP_STATUS_BYTES ? status : status < 0 ? -1 : 0;
		claim(n < HTTP_STATUS_BYTES || status != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[1100], target[PROBE_WORDS + 96];
	struct probe_conf c;

	answer(data, size < 64 ? size : 64);
	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (probe_parse("--probe", text, &c) < 0)
		return 0;
	claim(c.kind < PROBE_KINDS && c.how < PROBE_HOWS);
	claim(c.period_usec && c.timeout_usec && c.failures && c.successes);
	claim(memchr(c.text, '\0', sizeof(c.text)) && memchr(c.host, '\0', sizeof(c.host)));
	claim(c.how != PROBE_EXEC || c.words > 0);
	claim(c.how != PROBE_HTTP || (c.text[0] == '/' && !strpbrk(c.text, " \r\n")));
	claim(!strpbrk(c.host, " \r\n"));
	probe_target(&c, target, sizeof(target));
	claim(memchr(target, '\0', sizeof(target)));
	return 0;
}
