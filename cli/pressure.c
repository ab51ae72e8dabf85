/* holdfast pressure: the last minutes of one container's memory, stalls and actions, as a picture
 * in the terminal, as SVG, or as JSON. */
#include "cli/pressure.h"

#include <errno.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/outfile.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define SINCE_MIN USEC_PER_SEC
#define SINCE_MAX (24 * 3600 * USEC_PER_SEC)
#define SINCE_STD (300 * USEC_PER_SEC)

struct options {
	uint64_t since_usec;
	const char *file; /* NULL: the terminal */
	bool json;
};

static int set_since(void *ctx, const struct option *o, const char *value)
{
	struct options *opt = ctx;
	int r = option_duration(ctx, o, value);

	if (r == 0 && (opt->since_usec < SINCE_MIN || opt->since_usec > SINCE_MAX))
		return option_bad(o, value, "use 1s to 24h");
	return r;
}

static const struct option rows[] = {
	{"json", 0, NULL, "samples and actions as one JSON object", option_flag,
		offsetof(struct options, json)},
	{"output", 'o', "FILE", "write an SVG picture there instead", option_text,
		offsetof(struct options, file)},
	{"since", 0, "TIME", "so much of it, up to now or to its end (5m)", set_since,
		offsetof(struct options, since_usec)},
};

static const struct option_table table = {
	.usage = "holdfast pressure [options] ID",
	.about =
		"Draws the last minutes of a container: memory against its limit, the share of time in\n"
		"which some or all tasks waited for memory, CPU and I/O, and what its rules did. Also\n"
		"where no supervisor is alive, and of what has ended.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static int check(const struct options *o, int operands, const char *second_name)
{
	if (operands == 0)
		return fault_plain(-EINVAL, "pressure: which container? (%s)", table.usage);
	if (operands > 1)
		return fault_plain(-EINVAL, "pressure: \"%.100s\": draws one container at a time",
			second_name);
	if (o->file && o->json)
		return fault_plain(-EINVAL, "pressure: --output and --json (use one of them)");
	if (o->file && !o->file[0])
		return fault_plain(-EINVAL, "--output \"\": not the name of a file");
	return 0;
}

static int write_svg(const char *file, const struct pressure_view *v)
{
	auto_free char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return fault(-ENOMEM, "picture");
	pressure_svg(out, v);
	if (fclose(out) != 0)
		return fault(-ENOMEM, "picture");
	return outfile_replace(file, text, len);
}

static int show(const char *name, const struct options *o)
{
	static struct pressure_view view; /* too large for a stack */
	struct state state;
	int r = state_find(name, &state);

	if (r < 0)
		return r;
	state_close(&state);
	r = pressure_read(state.id, o->since_usec, &view);
	if (r < 0)
		return r;
	if (o->file)
		return write_svg(o->file, &view);
	if (o->json)
		pressure_json(&view);
	else
		pressure_text(&view);
	return 0;
}

int command_pressure(int argc, char **argv)
{
	struct options o = {.since_usec = SINCE_STD};
	int first, r = options_parse(&table, &o, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK)
		r = check(&o, argc - first, argc - first > 1 ? argv[first + 1] : "");
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	r = show(argv[first], &o);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return state_status(r);
}
