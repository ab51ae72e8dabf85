/* holdfast check: what this host can do, each by trying, and what it means for the user. */
#include <linux/sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/probe.h"
#include "cli/text.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/cghier.h"

struct probe {
	const char *item;
	probe_test test;
	long arg;
	bool needed;	     /* without it `run` can't work */
	const char *without; /* what a no or a limited means */
};

static const struct probe probes[] = {
	{"kernel 6.1 or later", probe_kernel, 0, false, "older kernels are not tested"},
	{"root", probe_root, 0, true, "run needs root"},
	{"programs installed", probe_programs, 0, true, "run finds nothing to start"},
	{"capabilities", probe_caps, 0, true, "what needs a missing one is refused or degrades"},
	{"mnt namespace, clone3", probe_namespace, CLONE_NEWNS, true, "no sandbox"},
	{"pid namespace", probe_namespace, CLONE_NEWPID, true, "no sandbox"},
	{"ipc namespace", probe_namespace, CLONE_NEWIPC, true, "no sandbox"},
	{"uts namespace", probe_namespace, CLONE_NEWUTS, true, "no host name of its own"},
	{"net namespace", probe_namespace, CLONE_NEWNET, true, "only --network host works"},
	{"cgroup namespace", probe_namespace, CLONE_NEWCGROUP, true,
		"host cgroup paths are seen inside"},
	{"user namespace", probe_namespace, CLONE_NEWUSER, false,
		"a run with --userns fails; without it nothing changes"},
	{"memory controller", probe_controller, CG_MEMORY, false,
		"--memory is refused; an OOM kill is not told from another"},
	{"cpu controller", probe_controller, CG_CPU, false, "--cpus is refused"},
	{"cpuacct controller", probe_controller, CG_CPUACCT, false,
		"CPU time per container is off"},
	{"pids controller", probe_controller, CG_PIDS, false,
		"--pids-limit is refused, and there is no limit by default"},
	{"device rules", probe_devices, 0, false, "device access is limited by capabilities alone"},
	{"cpuset controller", probe_controller, CG_CPUSET, false,
		"a bundle that pins CPUs is refused"},
	{"cgroup.kill", probe_group_file, GROUP_KILL, false,
		"a fork storm is killed more slowly, and rm -f can't end a damaged container"},
	{"PSI per group", probe_group_file, GROUP_PRESSURE, false,
		"stalls of one container are not seen"},
	{"start in a cgroup", probe_group_file, GROUP_CLONE, false,
		"supervisors stay in the caller's cgroup"},
	{"PSI triggers", probe_psi, 0, false, "stalls are seen later, or not at all"},
	{"seccomp filters", probe_seccomp, 0, true, "no system call filter"},
	{"new mount calls", probe_mount_api, 0, true, "no sandbox"},
	{"overlay", probe_overlay, 0, false, "run needs --rootfs or --bundle"},
	{"id-mapped mounts", probe_idmap, 0, false,
		"with --userns files of this root belong to nobody inside"},
	{"openat2", probe_openat2, 0, true, "no safe path lookup, so no sandbox"},
	{"pidfd", probe_pidfd, 0, true, "no supervision"},
	{"exit status by pidfd", probe_pidfd_exit, 0, false,
		"with --init none, an exit after the keeper's death is told as unknown"},
	{"1 MiB pipes", probe_pipe, 0, false,
		"a service blocks earlier while nobody reads its output"},
};

static const char *const answers[] = {"yes", "limited", "no"};

struct found {
	enum probe_answer answer;
	char note[PROBE_NOTE];
	char text[2 * PROBE_NOTE];
};

struct check {
	bool json;
};

static const struct option rows[] = {
	{"json", 0, NULL, "as a JSON array", option_flag, offsetof(struct check, json)}};

static const struct option_table table = {
	.usage = "holdfast check [--json]",
	.about = "Tries what this host can do. Exits 0 if `holdfast run` can work here, else 1.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static void print_json(const struct found *found)
{
	for (size_t i = 0; i < array_size(probes); i++) {
		printf("%s\n  {\"item\": ", i ? "," : "[");
		json_text(probes[i].item);
		printf(", \"answer\": \"%s\", \"needed\": %s, \"found\": ",
			answers[found[i].answer], probes[i].needed ? "true" : "false");
		json_text(found[i].note);
		printf(", \"consequence\": ");
		json_text(found[i].answer == PROBE_YES ? "" : probes[i].without);
		putchar('}');
	}
	printf("\n]\n");
}

static int print_table(struct found *found)
{
	const char *cells[array_size(probes) * 3];

	for (size_t i = 0; i < array_size(probes); i++) {
		bool bad = found[i].answer != PROBE_YES;

		snprintf(found[i].text, sizeof(found[i].text), "%s%s%s", found[i].note,
			bad && found[i].note[0] ? ": " : "", bad ? probes[i].without : "");
		cells[i * 3] = probes[i].item;
		cells[i * 3 + 1] = answers[found[i].answer];
		cells[i * 3 + 2] = found[i].text;
	}
	text_table(cells, array_size(probes), 3);
	return 0;
}

int command_check(int argc, char **argv)
{
	static struct found found[array_size(probes)];
	struct check check = {0};
	int first, r = options_parse(&table, &check, argc, argv, &first);
	bool works = true;

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = options_excess("check", argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	for (size_t i = 0; i < array_size(probes); i++) {
		found[i].answer = probes[i].test(probes[i].arg, found[i].note);
		works = works && (!probes[i].needed || found[i].answer != PROBE_NO);
	}
	if (check.json)
		print_json(found);
	else
		print_table(found);
	if (!check.json)
		printf("\n`holdfast run` %s here.\n", works ? "can work" : "can not work");
	return works ? CLI_OK : CLI_FAILED;
}
