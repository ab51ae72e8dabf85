/* The subcommands and what they share: exit statuses and how a message looks. */
#pragma once

/* Beside the service's own status (0..255, 128+n for a signal). */
enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1,	  /* a command on an existing container could not do it */
	CLI_USAGE = 64,	  /* options, settings or config.json are wrong: nothing was created */
	CLI_BROKEN = 125, /* Holdfast or the host failed */
	CLI_NOT_EXEC = 126,
	CLI_NOT_FOUND = 127,
};

/* argv[0] is the subcommand's name. Each returns the status to exit with. */
int command_run(int argc, char **argv);
int command_create(int argc, char **argv);
int command_start(int argc, char **argv);
int command_attach(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_ps(int argc, char **argv);
int command_events(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_restart(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_adopt(int argc, char **argv);
int command_prune(int argc, char **argv);
int command_rm(int argc, char **argv);
int command_stats(int argc, char **argv);
int command_top(int argc, char **argv);
int command_pressure(int argc, char **argv);
int command_metrics(int argc, char **argv);
int command_pause(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_update(int argc, char **argv);
int command_check(int argc, char **argv);
int command_version(int argc, char **argv);

/* "holdfast: TEXT" on stderr, with nothing in it that a terminal would act on. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
