#include "cli/opt_listen.h"

#include "cli/run_options.h"

int opt_listen(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (run->listener_count == LISTEN_MAX)
		return option_bad(o, value, "more than 64 listeners (leave some out)");
	run->settings.flags |= SETTINGS_LISTEN;
	return listen_parse(value, &run->listeners[run->listener_count++]);
}

int opt_notify(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (run->notify)
		return 0;
	run->notify = true;
	run->settings.flags |= SETTINGS_NOTIFY;
	return spec_env_add(&run->spec, "NOTIFY_SOCKET=" NOTIFY_SOCKET);
}
