/* What the user asked for beside the basics: limits, devices, and how the process is set up. The
 * option setters fill it in (cli/opt_resources.c, cli/opt_process.c), the spec_*.c files write it
 * into config.json. Zeros mean "not asked for". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spec_list {
	void *items;
	size_t len;
};

struct spec_device {
	char *path; /* in the container, below /dev/; owned */
	char type;  /* 'c' or 'b' */
	unsigned major, minor;
	mode_t mode; /* permissions */
	uid_t uid;
	gid_t gid;
	char access[4];
};

struct spec_resources {
	uint64_t memory_high, memory_reservation; /* bytes */
	uint64_t memory_swap;			  /* bytes, memory and swap together */
	bool swap_unlimited;
	uint64_t cpu_weight, io_weight; /* 1..10000 */
	bool cpu_idle;
	const char *cpuset_cpus, *cpuset_mems; /* "0-3,7" */
	uint64_t shm_size;		       /* bytes */
	struct spec_list devices;	       /* struct spec_device */
};

struct spec_ulimit {
	const char *type; /* "RLIMIT_NOFILE" */
	uint64_t soft, hard;
};

enum spec_filter { FILTER_UNSET, FILTER_DEFAULT, FILTER_NONE, FILTER_FILE };

struct spec_security {
	bool privileges_set, new_privileges; /* --security-opt no-new-privileges */
	bool open_paths;		     /* nothing masked or read-only below /proc and /sys */
	enum spec_filter filter;
	const char *filter_file;
};

struct spec_setup {
	struct spec_list env_file; /* char *, "NAME=VALUE": goes before what --env says */
	struct spec_list labels;   /* char *, "KEY=VALUE" */
	struct spec_list sysctls;  /* char *, "KEY=VALUE" */
	struct spec_list ulimits;  /* struct spec_ulimit */
	bool oom_score_set;
	int oom_score;
	struct spec_security security;
};
