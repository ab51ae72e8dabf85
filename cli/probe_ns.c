/* Probes that make namespaces, mounts or groups: each in a forked child whose end undoes it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/probe.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/cghier.h"

#define note_set(note, ...) snprintf(note, PROBE_NOTE, __VA_ARGS__)

static pid_t clone_child(uint64_t flags, int cgroup)
{
	struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};

	if (cgroup >= 0)
		args.cgroup = (uint64_t)cgroup;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* A child that says by its exit status which errno it met. */
static enum probe_answer child_answer(pid_t pid, char note[PROBE_NOTE])
{
	int status = 0, err = pid < 0 ? errno : 0;

	if (pid > 0 && waitpid(pid, &status, 0) == pid)
		err = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	if (err == 0)
		return PROBE_YES;
	note_set(note, "%s", strerror(err));
	return PROBE_NO;
}

enum probe_answer probe_namespace(long arg, char note[PROBE_NOTE])
{
	pid_t pid = clone_child((uint64_t)arg, -1);

	if (pid == 0)
		_exit(0);
	return child_answer(pid, note);
}

enum probe_answer probe_controller(long arg, char note[PROBE_NOTE])
{
	struct cghier h;

	if (cghier_find(&h) < 0 || h.at[arg].root[0] == '\0')
		return PROBE_NO;
	note_set(note, "%s, %s", h.at[arg].v2 ? "v2" : "v1", h.at[arg].root);
	return PROBE_YES;
}

/* The v2 tree has no files for devices but a program per group; this one allows everything, and is
 * attached nowhere. */
static int device_program(void)
{
	static const char license[] = "GPL";
	const struct bpf_insn allow[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr;
	auto_fd fd = -1;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)allow;
	attr.insn_cnt = sizeof(allow) / sizeof(allow[0]);
	attr.license = (uint64_t)(uintptr_t)license;
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? -errno : 0;
}

/* The v2 tree's program goes first; a v1 controller stands in where no program may be loaded. */
enum probe_answer probe_devices(long arg, char note[PROBE_NOTE])
{
	struct cghier h;
	int r;

	if (cghier_find(&h) < 0)
		return PROBE_NO;
	r = h.unified[0] ? device_program() : -ENOENT;
	if (r == 0) {
		note_set(note, "v2, by a BPF program");
		return PROBE_YES;
	}
	if (h.at[CG_DEVICES].root[0] && !h.at[CG_DEVICES].v2) {
		note_set(note, "v1, %s", h.at[CG_DEVICES].root);
		return PROBE_YES;
	}
	if (h.unified[0])
		note_set(note, "load a BPF program for devices: %s", strerror(-r));
	else
		note_set(note, "neither a v1 controller nor a v2 tree");
	return PROBE_NO;
}

static enum probe_answer try_group(int fd, enum probe_group what, char note[PROBE_NOTE])
{
	static const char *const files[] = {
		[GROUP_KILL] = "cgroup.kill",
		[GROUP_PRESSURE] = "memory.pressure",
	};
	pid_t pid;

	if (what != GROUP_CLONE) {
		if (faccessat(fd, files[what], what == GROUP_PRESSURE ? R_OK : W_OK, 0) == 0)
			return PROBE_YES;
		note_set(note, "%s: %s", files[what], strerror(errno));
		return PROBE_NO;
	}
	pid = clone_child(CLONE_INTO_CGROUP, fd);
	if (pid == 0)
		_exit(0);
	return child_answer(pid, note);
}

enum probe_answer probe_group_file(long arg, char note[PROBE_NOTE])
{
	enum probe_answer answer;
	char path[PATH_MAX];
	struct cghier h;
	int fd;

	if (cghier_find(&h) < 0 || h.unified[0] == '\0') {
		note_set(note, "no v2 tree");
		return PROBE_NO;
	}
	snprintf(path, sizeof(path), "%s/holdfast.check-%d", h.unified, (int)getpid());
	if (mkdir(path, 0755) < 0) {
		note_set(note, "mkdir %.150s: %s", path, strerror(errno));
		return PROBE_NO;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	answer = try_group(fd, (enum probe_group)arg, note);
	fd_close(&fd);
	rmdir(path);
	return answer;
}

static int psi_trigger(const char *text)
{
	auto_fd fd = open("/proc/pressure/memory", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text) + 1) < 0 ? -errno : 0;
}

enum probe_answer probe_psi(long arg, char note[PROBE_NOTE])
{
	int r = psi_trigger("some 100000 1000000");

	if (r == 0)
		return PROBE_YES;
	if (r == -EINVAL && psi_trigger("some 150000 2000000") == 0) {
		note_set(note, "windows must be multiples of 2 s (CAP_SYS_RESOURCE is missing)");
		return PROBE_LIMITED;
	}
	note_set(note, "/proc/pressure/memory: %s", strerror(-r));
	return PROBE_NO;
}

enum probe_answer probe_mount_api(long arg, char note[PROBE_NOTE])
{
	auto_fd fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs >= 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
		auto_fd mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);

		if (mnt >= 0)
			return PROBE_YES;
	}
	note_set(note, "%s", strerror(errno));
	return PROBE_NO;
}

/* In a mount namespace of its own, over a tmpfs: nothing of it is seen outside. */
static int overlay_try(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/tmp", "tmpfs", 0, NULL) < 0 || mkdir("/tmp/up", 0755) < 0 ||
		mkdir("/tmp/work", 0755) < 0 || mkdir("/tmp/at", 0755) < 0 ||
		mount("overlay", "/tmp/at", "overlay", 0,
			"lowerdir=/,upperdir=/tmp/up,workdir=/tmp/work") < 0)
		return errno;
	return 0;
}

enum probe_answer probe_overlay(long arg, char note[PROBE_NOTE])
{
	pid_t pid = clone_child(CLONE_NEWNS, -1);

	if (pid == 0)
		_exit(overlay_try());
	return child_answer(pid, note);
}

static int idmap_root(int userns)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
	auto_fd tree =
		(int)syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return -errno;
	return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno
											    : 0;
}

static int idmap_try(pid_t pid)
{
	char path[64];
	auto_fd ns = -1;

	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	if (file_write(AT_FDCWD, path, "0 100000 65536") < 0)
		return -EPERM;
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	if (file_write(AT_FDCWD, path, "0 100000 65536") < 0)
		return -EPERM;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	return ns < 0 ? -errno : idmap_root(ns);
}

/* A child in a user namespace waits at the end of a pipe while its maps are tried on the root. */
enum probe_answer probe_idmap(long arg, char note[PROBE_NOTE])
{
	int go[2], r;
	pid_t pid;
	char c;

	if (pipe2(go, O_CLOEXEC) < 0)
		return PROBE_NO;
	pid = clone_child(CLONE_NEWUSER, -1);
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &c, 1) < 0);
	}
	r = pid < 0 ? -errno : idmap_try(pid);
	close(go[0]);
	close(go[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (r == 0)
		return PROBE_YES;
	note_set(note, "the root file system: %s", strerror(-r));
	return PROBE_NO;
}
