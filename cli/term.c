#include "cli/term.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ipc/base/fault.h"

/* A process has one terminal, and atexit handlers have no argument. */
static struct termios saved, raw;
static int raw_fd = -1;

void term_restore(void)
{
	if (raw_fd >= 0)
		tcsetattr(raw_fd, TCSADRAIN, &saved);
	raw_fd = -1;
}

void term_raw_again(void)
{
	if (raw_fd >= 0)
		tcsetattr(raw_fd, TCSADRAIN, &raw);
}

int term_raw(int fd)
{
	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &saved) < 0)
		return fault(-errno, "terminal mode");
	raw = saved;
	cfmakeraw(&raw);
	if (atexit(term_restore) != 0)
		return fault(-ENOMEM, "terminal mode");
	raw_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return fault(-errno, "terminal mode");
	return 0;
}

int term_size(int fd, struct winsize_req *ret)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) < 0)
		return 0;
	*ret = (struct winsize_req){ws.ws_row, ws.ws_col, ws.ws_xpixel, ws.ws_ypixel};
	return 1;
}
