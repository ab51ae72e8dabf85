/* holdfast: the operator's and deployer's tool. One table of subcommands; each parses its own
 * options from a table (cli/options.h). It is a client of a container's socket; where no supervisor
 * is alive it reads the container's journal and raw logs by itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"

struct subcommand {
	const char *name;
	const char *help;
	int (*run)(int argc, char **argv);
};

static const struct subcommand subcommands[] = {
	{"run", "start a container and keep its service alive", command_run},
	{"create", "make a container without starting it", command_create},
	{"start", "start containers that were created or have ended", command_start},
	{"attach", "show a running container's output, and pass input on", command_attach},
	{"exec", "run a command in a container that runs", command_exec},
	{"ps", "list containers", command_ps},
	{"inspect", "show everything about containers", command_inspect},
	{"events", "show what has happened to containers", command_events},
	{"logs", "show what a container's service wrote", command_logs},
	{"stop", "stop containers; no policy restarts them", command_stop},
	{"kill", "send a signal to a container's service", command_kill},
	{"restart", "stop and start again", command_restart},
	{"wait", "wait for the end and print the exit status", command_wait},
	{"adopt", "go on with containers whose supervisors have died", command_adopt},
	{"rm", "remove containers that have ended", command_rm},
	{"prune", "remove all containers that have ended", command_prune},
	{"pause", "make every process of containers stand still", command_pause},
	{"resume", "let paused containers go on", command_resume},
	{"update", "change limits and restart policy of running containers", command_update},
	{"stats", "show what containers use", command_stats},
	{"top", "show all containers, live", command_top},
	{"pressure", "draw the last minutes of a container's memory and pressure",
		command_pressure},
	{"metrics", "print all figures as OpenMetrics text", command_metrics},
	{"check", "what this host can do, and what follows from it", command_check},
	{"version", "print the version", command_version},
};

int command_version(int argc, char **argv)
{
	static const struct option_table table = {
		.usage = "holdfast version", .about = "Prints the version."};
	int first, r = options_parse(&table, NULL, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = options_excess("version", argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	printf("holdfast %s\n", HOLDFAST_VERSION);
	return CLI_OK;
}

static int help(void)
{
	printf("Usage: holdfast COMMAND [options]\n"
	       "Keeps a container's service alive through every crash around it.\n\n");
	for (size_t i = 0; i < array_size(subcommands); i++)
		printf("  %-9s %s\n", subcommands[i].name, subcommands[i].help);
	printf("\n`holdfast COMMAND --help` lists a command's options.\n"
	       "Exit status of run: the service's (128+n: signal n); 64 wrong options, 125 Holdfast\n"
	       "failed, 126 not executable, 127 not found. Other commands: 0, or 1 when one failed.\n");
	return CLI_OK;
}

/* For the completions of shells: the commands, or one's options. */
static int complete(int argc, char **argv)
{
	char *words[] = {argc > 2 ? argv[2] : NULL, NULL};

	options_list_only();
	for (size_t i = 0; i < array_size(subcommands); i++) {
		if (!words[0])
			printf("%s\t\t%s\n", subcommands[i].name, subcommands[i].help);
		else if (strcmp(words[0], subcommands[i].name) == 0)
			return subcommands[i].run(1, words);
	}
	return CLI_OK;
}

/* What a full disk did not take was not done. A stdout that the caller closed is not missed. */
static int close_stdout(int status, int failed)
{
	if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EBADF)
		return status;
	complain("standard output could not be written: %s", strerror(errno));
	return status ? status : failed;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";

	log_init("holdfast", NULL);
	if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0 || strcmp(name, "-h") == 0) {
		help();
		return close_stdout(argc > 1 ? CLI_OK : CLI_USAGE, CLI_FAILED);
	}
	if (strcmp(name, "--version") == 0)
		return close_stdout(command_version(argc - 1, argv + 1), CLI_FAILED);
	if (strcmp(name, "__complete") == 0)
		return close_stdout(complete(argc, argv), CLI_FAILED);
	for (size_t i = 0; i < array_size(subcommands); i++)
		if (strcmp(name, subcommands[i].name) == 0)
			return close_stdout(subcommands[i].run(argc - 1, argv + 1),
				subcommands[i].run == command_run ? CLI_BROKEN : CLI_FAILED);
	complain("%s: no such command (holdfast --help lists them)", name);
	return CLI_USAGE;
}
