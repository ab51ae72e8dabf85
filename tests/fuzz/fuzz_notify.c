/* A datagram of the service to its NOTIFY_SOCKET. */
#include "tests/fuzz/fuzz.h"

#include "ipc/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct notify_msg m;

	if (size > NOTIFY_TEXT_MAX)
		return 0;
	notify_parse((const char *)data, size, &m);
	claim(memchr(m.fdname, '\0', sizeof(m.fdname)));
	claim(m.fdname[0]);
	claim(!strchr(m.fdname, ':')); /* LISTEN_FDNAMES is a list between colons */
	for (const char *p = m.fdname; *p; p++)
		claim(*p >= ' ' && *p <= '~');
	claim(m.named || strcmp(m.fdname, NOTIFY_NAME_DEFAULT) == 0);
	return 0;
}
