/* PID 1 of the test machine. The kernel's command line says what it needs:
 *
 *     vm.job=DIR              on the host: argv, env and shared (each string ends with NUL), cwd;
 * the exit status is left there in `status` (decimal, 128+N for signal N) vm.fs=virtiofs|hostfs how
 * the host's / is reached vm.out=DEV vm.err=DEV   character devices that take the command's stdout
 * and stderr
 *
 * The root is an overlay of the host's / and a tmpfs: nothing outside the shared directories is
 * ever written on the host. Anything that goes wrong before the command runs ends the machine
 * without a status, which the other side takes for the failure that it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PATH_BYTES 1024
#define TRY_MS	   2000 /* for a console device to appear */

struct text {
	char *s;
	size_t len;
};

static struct {
	char job[512], fs[32], out[64], err[64];
} conf;

static __attribute__((noreturn)) void off(void)
{
	sync();
	/* the emulator ends at a reset; user-mode Linux would start anew */
	reboot(strcmp(conf.fs, "hostfs") == 0 ? RB_POWER_OFF : RB_AUTOBOOT);
	for (;;)
		pause();
}

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "vminit: ");
	vfprintf(stderr, format, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	off();
}

/* A whole file; s is NULL when there is none. */
static struct text slurp(const char *path)
{
	struct text t = {NULL, 0};
	size_t cap = 65536;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return t;
	t.s = malloc(cap + 1);
	while (t.s && (n = read(fd, t.s + t.len, cap - t.len)) > 0) {
		t.len += (size_t)n;
		if (t.len == cap)
			t.s = realloc(t.s, (cap *= 2) + 1);
	}
	close(fd);
	if (!t.s)
		die("%s", path);
	t.s[t.len] = '\0';
	return t;
}

static struct text job_file(const char *name)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/host%s/%s", conf.job, name);
	return slurp(path);
}

static char **strings(struct text t)
{
	size_t n = 0;
	char **v;

	for (size_t i = 0; i < t.len; i++)
		n += t.s[i] == '\0';
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		die("memory");
	n = 0;
	for (size_t i = 0; i < t.len; i += strlen(t.s + i) + 1)
		v[n++] = t.s + i;
	return v;
}

static void argument(const char *line, const char *key, char *to, size_t size)
{
	const char *at = strstr(line, key);

	if (at)
		snprintf(to, size, "%.*s", (int)strcspn(at + strlen(key), " \n"), at + strlen(key));
}

static void mount_at(const char *type, const char *where, unsigned long flags, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, flags, options) < 0 && errno != EBUSY)
		die("mount %s on %s", type, where);
}

static void make_path(char *path)
{
	for (char *p = path + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(path, 0755);
			*p = '/';
		}
	mkdir(path, 0755);
}

static void read_conf(void)
{
	struct text line = slurp("/proc/cmdline");

	if (!line.s)
		die("/proc/cmdline");
	argument(line.s, "vm.job=", conf.job, sizeof(conf.job));
	argument(line.s, "vm.fs=", conf.fs, sizeof(conf.fs));
	argument(line.s, "vm.out=", conf.out, sizeof(conf.out));
	argument(line.s, "vm.err=", conf.err, sizeof(conf.err));
	free(line.s);
}

static void use_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	for (int i = 0; i < 3 && fd >= 0; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void load_modules(void)
{
	char path[64];
	int fd;

	for (int n = 0;; n++) {
		snprintf(path, sizeof(path), "/modules/%d", n);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		if (syscall(SYS_finit_module, fd, "", 0) < 0)
			die("load %s", path);
		close(fd);
	}
}

static void share(const char *dir)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	snprintf(from, sizeof(from), "/host%s", dir);
	snprintf(to, sizeof(to), "/new%s", dir);
	make_path(to);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		die("share %s", dir);
}

static void make_root(void)
{
	bool hostfs = strcmp(conf.fs, "hostfs") == 0;
	const unsigned long plain = MS_NOSUID | MS_NODEV;

	mkdir("/host", 0755);
	if (mount(hostfs ? "none" : "host", "/host", conf.fs, 0, hostfs ? "/" : "") < 0)
		die("mount the host's root by %s", conf.fs);
	mount_at("tmpfs", "/upper", 0, "mode=755,size=50%");
	mkdir("/upper/up", 0755);
	mkdir("/upper/work", 0755);
	mkdir("/new", 0755);
	if (mount("overlay", "/new", "overlay", 0,
		    "lowerdir=/host,upperdir=/upper/up,workdir=/upper/work") < 0)
		die("mount the root's overlay");
	/* no overlay, since tests have overlays of their own there */
	mount_at("tmpfs", "/new/tmp", plain, "mode=1777");
	mount_at("tmpfs", "/new/run", plain, "mode=755");
}

static void share_all(void)
{
	struct text shared = job_file("shared");

	for (char **dir = strings(shared); *dir; dir++)
		share(*dir);
}

static void switch_root(void)
{
	static const char *const kept[][2] = {
		{"/dev", "/new/dev"}, {"/proc", "/new/proc"}, {"/sys", "/new/sys"}};

	for (int i = 0; i < 3; i++)
		if (mount(kept[i][0], kept[i][1], NULL, MS_MOVE, NULL) < 0)
			die("move %s", kept[i][0]);
	if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
		chdir("/") < 0)
		die("switch root");
}

static void enable_controllers(void)
{
	static const char *const words[] = {"+memory", "+pids", "+cpu", "+io", "+cpuset"};
	int fd;

	mount_at("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		"nsdelegate,memory_recursiveprot");
	fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < sizeof(words) / sizeof(words[0]); i++)
		if (write(fd, words[i], strlen(words[i])) < 0)
			continue; /* this kernel lacks it; what needs it will say so */
	close(fd);
}

static void finish_root(void)
{
	mount_at("devpts", "/dev/pts", 0, "mode=600,ptmxmode=666");
	mount_at("tmpfs", "/dev/shm", 0, "mode=1777");
	mount_at("mqueue", "/dev/mqueue", 0, "");
	mount("bpf", "/sys/fs/bpf", "bpf", 0, "");
	for (int i = 0; i < 4; i++) {
		static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
			{"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
			{"/proc/self/fd/2", "/dev/stderr"}};

		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			die("%s", links[i][1]);
	}
	enable_controllers();
}

static void loopback_up(void)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		die("loopback device");
	close(fd);
	if (sethostname("vm", 2) < 0)
		die("host name");
}

static int open_output(const char *device)
{
	struct termios t;
	int fd = -1;

	for (int ms = 0; ms < TRY_MS && fd < 0; ms += 5) {
		fd = open(device, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			usleep(5000);
	}
	if (fd < 0)
		die("%s", device);
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static void write_all(int fd, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, s, n);

		if (w < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (w < 0)
			usleep(1000);
		else
			s += w, n -= (size_t)w;
	}
}

static __attribute__((noreturn)) void run_command(char **argv, char **envp, const char *cwd)
{
	int null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	close(null);
	if (chdir(cwd) < 0) {
		fprintf(stderr, "vminit: chdir %s: %s\n", cwd, strerror(errno));
		_exit(126);
	}
	environ = envp;
	execvp(argv[0], argv);
	fprintf(stderr, "vminit: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

struct stream {
	int from, to;
};

static pid_t start(struct stream streams[2], char **argv, char **envp, const char *cwd)
{
	int ends[2][2];
	pid_t pid;

	for (int i = 0; i < 2; i++)
		if (pipe2(ends[i], O_CLOEXEC) < 0)
			die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		setsid();
		dup2(ends[0][1], 1);
		dup2(ends[1][1], 2);
		run_command(argv, envp, cwd);
	}
	for (int i = 0; i < 2; i++) {
		close(ends[i][1]);
		streams[i].from = ends[i][0];
	}
	return pid;
}

/* Whether anything was copied. */
static bool copy(struct stream *streams, int wait_ms)
{
	struct pollfd p[2] = {{streams[0].from, POLLIN, 0}, {streams[1].from, POLLIN, 0}};
	static char buf[65536];
	bool any = false;

	poll(p, 2, wait_ms);
	for (int i = 0; i < 2; i++) {
		ssize_t n = p[i].revents ? read(p[i].fd, buf, sizeof(buf)) : -1;

		if (n > 0)
			write_all(streams[i].to, buf, (size_t)n);
		if (n == 0) {
			close(streams[i].from);
			streams[i].from = -1;
		}
		any |= n > 0;
	}
	return any;
}

/* The command's status once its output is drained. Stragglers that still hold its pipes are dropped
 * with the machine. */
static int supervise(struct stream *streams, pid_t command)
{
	int status = -1, s;
	pid_t pid;

	for (;;) {
		bool any = copy(streams, status < 0 ? 20 : 0);

		if (status >= 0 && !any)
			return status;
		while ((pid = waitpid(-1, &s, WNOHANG)) > 0)
			if (pid == command)
				status = WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
		if (status < 0 && streams[0].from < 0 && streams[1].from < 0)
			usleep(2000);
	}
}

static void leave_status(int job, int status)
{
	int fd = openat(job, "status", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%d\n", status) < 0)
		die("status");
	fsync(fd);
	close(fd);
}

int main(void)
{
	struct text argv, env, cwd;
	struct stream streams[2];
	char path[PATH_BYTES];
	int job, status;

	umask(022);
	mount_at("proc", "/proc", 0, "");
	mount_at("sysfs", "/sys", 0, "");
	mount_at("devtmpfs", "/dev", 0, "");
	read_conf();
	use_console();
	load_modules();
	make_root();
	share_all();
	argv = job_file("argv");
	env = job_file("env");
	cwd = job_file("cwd");
	snprintf(path, sizeof(path), "/host%s", conf.job);
	job = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* outlives the switch of root */
	if (job < 0 || !argv.len || !env.s || !cwd.s)
		die("job %s", conf.job);
	switch_root();
	finish_root();
	loopback_up();
	streams[0].to = open_output(conf.out);
	streams[1].to = open_output(conf.err);
	status = supervise(streams, start(streams, strings(argv), strings(env), cwd.s));
	tcdrain(streams[0].to); /* EINVAL where it is no terminal */
	tcdrain(streams[1].to);
	leave_status(job, status);
	off();
}
