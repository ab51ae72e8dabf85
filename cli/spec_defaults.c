#include "cli/spec_defaults.h"

#include <stddef.h>
#include <sys/resource.h>

const struct spec_default_mount spec_default_mounts[] = {
	{"proc", "proc", "/proc", "nosuid,noexec,nodev"},
	{"tmpfs", "tmpfs", "/dev", "nosuid,noexec,strictatime,mode=755,size=64k"},
	{"devpts", "devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "shm", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=64m"},
	{"mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev"},
	{"sysfs", "sysfs", "/sys", "nosuid,noexec,nodev,ro"},
	{NULL},
};

const struct spec_default_limit spec_default_limits[] = {
	{"RLIMIT_NOFILE", RLIMIT_NOFILE, 1024, 524288},
	{"RLIMIT_CORE", RLIMIT_CORE, 0, 0},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK, 64 << 10, 64 << 10},
	{"RLIMIT_STACK", RLIMIT_STACK, 8 << 20, RLIM_INFINITY},
	{NULL},
};

const char *const spec_default_namespaces[] = {"pid", "mount", "ipc", "uts", "cgroup", NULL};
