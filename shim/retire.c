/* The ends: taking a sandbox away after PID 1 has ended, and leaving altogether. Every step can be
 * done twice: a shim that dies in between leaves the rest to the next. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/fds.h"
#include "monitor/cgfs.h"
#include "shim/shim.h"

#define CLEAN_FIRST_USEC (2 * USEC_PER_MSEC)
#define CLEAN_MAX_USEC	 (500 * USEC_PER_MSEC)
#define STUCK_USEC	 (30 * USEC_PER_SEC)
#define LINGER_USEC	 (10 * USEC_PER_SEC)
#define GONE_MAX	 (ID_MAX + 16)

/* The sandbox -----------------------------------------------------------------------------------
 */

/* A group that was there before the launch is somebody's: it is never removed, and killed only once
 * a launch has put our sandbox into it (launch refuses one that holds processes). */
static bool made_group(const struct shim *s)
{
	return s->journal.now.cgroup_kept < cgfs_depth(s->settings.cgroup);
}

void clean_kill(struct shim *s)
{
	if (!made_group(s) && !s->journal.now.init_pid)
		return;
	if (cgfs_kill(&s->hier, s->settings.cgroup) < 0)
		log_warn("%s", fault_text());
}

static int clean_group(struct shim *s)
{
	if (made_group(s))
		return cgfs_remove(&s->hier, s->settings.cgroup, s->journal.now.cgroup_kept);
	return s->journal.now.init_pid && cgfs_populated(&s->hier, s->settings.cgroup)
		       ? fault(-EBUSY, "cgroup %s", s->settings.cgroup)
		       : 0;
}

static void clean_try(struct shim *s)
{
	uint64_t waited = now_mono() - s->clean_since;
	int r;

	clean_kill(s);
	r = clean_group(s);
	if (r < 0 && waited < STUCK_USEC) {
		/* dying takes the kernel a moment; there is no event for "can be removed now" on v1
		 */
		loop_timer_set(&s->clean_timer, waited < CLEAN_FIRST_USEC ? CLEAN_FIRST_USEC
						: waited < CLEAN_MAX_USEC ? waited
									  : CLEAN_MAX_USEC);
		return;
	}
	if (r < 0)
		journal_warn(&s->journal, "%s: given up after 30 s, it stays behind", fault_text());
	shim_event(s, LIFE_ON_CLEAN);
}

static void on_clean_timer(struct loop_timer *t)
{
	clean_try(t->ctx);
}

void clean_begin(struct shim *s)
{
	pump_run_dead(&s->pump, s->shared ? s->shared->run : UINT32_MAX);
	pidfile_remove(s);
	link_init_forget(s);
	loop_timer_cancel(
		&s->stop_timer); /* whom it was to kill is gone; the next run is another */

	s->clean_since = now_mono();
	clean_try(s);
}

/* Everything ------------------------------------------------------------------------------------
 */

static void remove_logs(struct shim *s)
{
	/* pump and sinks hold what they have open; names are all that goes */
	int r = dir_remove(AT_FDCWD, s->settings.log_dir);

	if (r < 0)
		log_warn("%s", fault_text());
}

static int open_parent(void)
{
	return openat(SHIM_FD_STATE, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Does the state directory stand there under this name? */
static bool stands(int parent, const char *name)
{
	struct stat ours, named;

	return parent >= 0 && fstat(SHIM_FD_STATE, &ours) == 0 &&
	       fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

static void gone_name(const char *id, char ret[GONE_MAX])
{
	snprintf(ret, GONE_MAX, ".%s.gone", id);
}

/* `enabled` goes last: as long as it is there the keeper revives who goes on with this. */
static void remove_renamed(int parent, const char *gone)
{
	int fd = openat(SHIM_FD_STATE, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (dir && (e = readdir(dir)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			strcmp(e->d_name, "enabled") != 0 && dir_remove(fd, e->d_name) < 0)
			log_warn("state directory: %s", fault_text());
	if (dir)
		closedir(dir);
	else
		fd_close(&fd);
	if (dir_remove(parent, gone) < 0)
		log_warn("state directory: %s", fault_text());
}

/* Renamed first: nobody finds a half-removed container under its name. */
static void remove_state(struct shim *s)
{
	auto_fd parent = open_parent();
	char gone[GONE_MAX];

	if (!stands(parent, s->settings.id)) {
		log_warn("state directory: not where it was, left alone");
		return;
	}
	gone_name(s->settings.id, gone);
	if (dir_remove(parent, gone) < 0) /* of a removal that nobody could end */
		log_warn("state directory: %s", fault_text());
	if (renameat(parent, s->settings.id, parent, gone) < 0) {
		log_warn("state directory: rename: %s", strerror(errno));
		return;
	}
	fd_close(&s->log_dirfd); /* so that a disk of its own can be taken away */
	clients_release(s);
	remove_renamed(parent, gone);
}

bool retire_finish(const char *id)
{
	auto_fd parent = open_parent();
	char gone[GONE_MAX];

	gone_name(id, gone);
	if (!stands(parent, gone))
		return false;
	remove_renamed(parent, gone);
	return true;
}

static void leave(struct shim *s)
{
	s->retired = true;
	overload_finish(s);
	post_mortem_finish(s);
	serve_finish(s);
	pump_finish(&s->pump);
	unlinkat(SHIM_FD_STATE, "sock", 0);
	listeners_close(s); /* a predecessor may have died over it */
	unlinkat(SHIM_FD_STATE, "control", 0);
	unlinkat(SHIM_FD_STATE, "observe", 0);
	unlinkat(SHIM_FD_STATE, DOOR_NAME, 0);
	unlinkat(SHIM_FD_STATE, "rulestate", 0); /* of this life */
	if (s->remove)
		remove_logs(s);
	if (s->remove)
		remove_state(s);	       /* till its rename a successor would go on here */
	unlinkat(SHIM_FD_STATE, "enabled", 0); /* the keeper revives nobody from here on */
	link_keeper_send(s, KEEPER_RETIRE, NULL, 0, -1);
	loop_stop(&s->loop);
}

/* Output that was dropped after the end was announced moved the end: say where it really is. */
static void correct_ends(struct shim *s)
{
	struct exit_info last = s->journal.now.last;
	uint64_t out = s->pump.streams[LOG_STDOUT].offset, err = s->pump.streams[LOG_STDERR].offset;

	if (!last.run || (last.stdout_end <= out && last.stderr_end <= err))
		return;
	last.stdout_end = out;
	last.stderr_end = err;
	clients_broadcast(s, CLIENT_EXITED, &last, sizeof(last));
}

void retire_check(struct shim *s)
{
	bool late = s->retiring && now_mono() - s->phase_since > LINGER_USEC;

	if (!s->retiring || s->retired || s->in_event)
		return;
	if ((!pump_idle(&s->pump) || serve_behind(s)) && !late)
		return;
	correct_ends(s);
	if (s->remove && clients_waiting(s) && !late)
		return; /* they still read what is about to be removed */
	leave(s);
}

static void on_linger_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (!pump_idle(&s->pump))
		journal_warn(&s->journal, "output that the log does not take is left behind");
	retire_check(s);
}

static void on_retire_soon(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	retire_check(s);
	if (!s->retired)
		loop_timer_set(&s->linger_timer, LINGER_USEC + USEC_PER_MSEC);
}

void retire_setup(struct shim *s)
{
	loop_timer_init(&s->clean_timer, &s->loop, on_clean_timer, s);
	loop_timer_init(&s->retire_timer, &s->loop, on_retire_soon, s);
	loop_timer_init(&s->linger_timer, &s->loop, on_linger_timer, s);
}

/* Journalled before anybody is told: whoever dies meanwhile, it is done. */
void retire_remove(struct shim *s)
{
	const struct rec_stop rec = {.what = CLIENT_REMOVE};

	s->remove = true;
	if (s->phase != PHASE_DOWN)
		stop_begin(s, (struct stop_req){.signo = 9, .has_grace = 1}, CLIENT_REMOVE);
	else if (!s->journal.now.removing)
		journal_append(
			&s->journal, RECORD_STOP_INTENT, 0, s->journal.now.run, &rec, sizeof(rec));
}

void retire_begin(struct shim *s)
{
	s->retiring = true;
	/* what `run` made goes with a start that failed; what `start` opened was there before */
	s->remove = s->remove || (s->first_failed && !s->journal.now.opened) ||
		    (s->settings.flags & SETTINGS_AUTO_REMOVE);
	/* after this turn of the loop: the event that led here is still being handled */
	loop_timer_set(&s->retire_timer, 0);
}
