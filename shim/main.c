/* holdfast-shim: exec'd by the keeper alone (descriptors: ipc/fds.h). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/slice.h"
#include "ipc/fds.h"
#include "shim/shim.h"

#define EXIT_USAGE  64
#define EXIT_FAILED 125

static struct shim shim;

/* SIGTERM and its like are not ours to die of: a host that shuts down signals everybody, and the
 * container's own stop is what ends us. SIGKILL is survived by the next shim. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	if (argc != 2 || fcntl(SHIM_FD_STATE, F_GETFD) < 0) {
		fprintf(stderr,
			"holdfast-shim: started by holdfast's keeper only (use: holdfast run)\n");
		return EXIT_USAGE;
	}
	fd_cloexec_all(SHIM_FD_KEEPER);
	prctl(PR_SET_NAME, "holdfast-shim"); /* exec by descriptor leaves a number there */
	block_signals();
	slice_stand_back(); /* a next run does not wait for those who write down the last one's end
			     */
	log_init("holdfast-shim", argv[1]);
	if (retire_finish(argv[1]))
		return 0;
	if (shim_init(&shim, argv[1]) < 0) {
		log_error("%s", fault_text());
		return EXIT_FAILED;
	}
	loop_run(&shim.loop);
	pump_finish(&shim.pump);
	loop_finish(&shim.loop);
	return 0;
}
