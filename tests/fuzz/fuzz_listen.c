/* --listen's word, and what is written back of it. */
#include "tests/fuzz/fuzz.h"

#include "ipc/listen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[512], again[600];
	struct listen_addr a = {0}, b = {0};
	const char *path;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (listen_parse(text, &a) < 0)
		return 0;
	claim(a.name[0] && memchr(a.name, '\0', sizeof(a.name)));
	claim(a.len > 0 && a.len <= LISTEN_ADDR_BYTES);
	path = listen_path(&a);
	claim(!path || path[0] == '/');
	snprintf(again, sizeof(again), "%s=%s", a.name, listen_text(&a));
	if (path) /* its text leaves mode and owner out */
		return 0;
	claim(listen_parse(again, &b) == 0);
	claim(a.type == b.type && a.len == b.len && memcmp(a.addr, b.addr, a.len) == 0);
	return 0;
}
