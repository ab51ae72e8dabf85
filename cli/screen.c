#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define ENTER	  "\033[?1049h\033[?25l\033[H\033[2J" /* other screen, no cursor, clean */
#define LEAVE	  "\033[0m\033[?25h\033[?1049l"
#define LINE_ROOM 32 /* for what surrounds a line */

/* A process has one terminal, and atexit handlers have no argument. */
static struct termios saved;
static bool entered;

bool screen_possible(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && term[0] &&
	       strcmp(term, "dumb") != 0;
}

bool screen_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return !no || !no[0];
}

bool screen_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < array_size(names); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0]) /* the first that is set decides (locale(7)) */
			return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
	}
	return false;
}

void screen_leave(void)
{
	if (!entered)
		return;
	entered = false;
	write_all(STDOUT_FILENO, LEAVE, strlen(LEAVE));
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

int screen_enter(void)
{
	static bool registered;
	struct termios raw;
	int r;

	if (entered)
		return 0;
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return fault(-errno, "terminal mode");
	if (!registered && atexit(screen_leave) != 0)
		return fault(-ENOMEM, "terminal mode");
	registered = true;
	raw = saved; /* signals by keys stay: who reads them leaves the screen first */
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return fault(-errno, "terminal mode");
	entered = true;
	r = write_all(STDOUT_FILENO, ENTER, strlen(ENTER));
	return r < 0 ? fault(r, "terminal") : 0;
}

void screen_size(unsigned *rows, unsigned *columns)
{
	struct winsize ws = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
	*rows = ws.ws_row ? ws.ws_row : 24;
	*columns = ws.ws_col ? ws.ws_col : 80;
}

/* Keys ----------------------------------------------------------------------------------------- */

static int next_byte(void)
{
	unsigned char c;

	return read(STDIN_FILENO, &c, 1) == 1 ? c : KEY_NONE;
}

/* "\033[A", "\033[5~", and both with parameters, which are passed over. */
static int sequence(void)
{
	int first = KEY_NONE, c;

	while ((c = next_byte()) != KEY_NONE && (c < '@' || c > '~'))
		first = first == KEY_NONE ? c : first;
	switch (c) {
	case 'A':
		return KEY_UP;
	case 'B':
		return KEY_DOWN;
	case 'H':
		return KEY_HOME;
	case 'F':
		return KEY_END;
	case '~':
		return first == '5'   ? KEY_PAGE_UP
		       : first == '6' ? KEY_PAGE_DOWN
		       : first == '1' ? KEY_HOME
		       : first == '4' ? KEY_END
				      : 0;
	default:
		return 0;
	}
}

int screen_key(void)
{
	int c = next_byte();

	if (c != '\033')
		return c;
	c = next_byte();
	return c == '[' || c == 'O' ? sequence() : c == KEY_NONE ? '\033' : c;
}

/* Pictures ------------------------------------------------------------------------------------- */

static void append(struct picture *p, const char *bytes, size_t len)
{
	size_t size = p->size ? p->size : 4096;
	char *grown;

	while (size < p->len + len)
		size *= 2;
	if (size > p->size) {
		grown = realloc(p->bytes, size);
		if (!grown)
			return; /* a picture with a hole: the next one may have room */
		p->bytes = grown;
		p->size = size;
	}
	memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

void picture_begin(struct picture *p)
{
	p->len = 0;
	p->row = 0;
	screen_size(&p->rows, &p->columns);
	append(p, "\033[H", 3);
}

/* Bytes of text in so many columns. */
static size_t cut(const char *text, unsigned columns)
{
	size_t n = 0;

	for (unsigned seen = 0; text[n]; n++) {
		bool continues = ((unsigned char)text[n] & 0xc0) == 0x80;

		if (!continues && seen++ == columns)
			break;
	}
	return n;
}

void picture_line(struct picture *p, const char *style, const char *text)
{
	char around[LINE_ROOM];

	if (p->row >= p->rows)
		return;
	if (p->row++ > 0)
		append(p, "\r\n", 2);
	if (style)
		append(p, around, (size_t)snprintf(around, sizeof(around), "\033[%.8s", style));
	append(p, text, cut(text, p->columns));
	if (style)
		append(p, "\033[0m", 4);
	append(p, "\033[K", 3);
}

int picture_show(struct picture *p)
{
	int r;

	append(p, "\033[J", 3);
	r = write_all(STDOUT_FILENO, p->bytes, p->len);
	return r < 0 ? fault(r, "terminal") : 0;
}

void picture_finish(struct picture *p)
{
	free(p->bytes);
	memset(p, 0, sizeof(*p));
}
