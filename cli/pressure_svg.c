/* The picture as one SVG file: nothing but shapes, text and a style that follows the reader's light
 * or dark; no script, nothing fetched. What is said by colour is said by words, too. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/figures.h"
#include "cli/pressure.h"
#include "cli/when.h"
#include "ipc/base/mem.h"

#define WIDTH	960u
#define LEFT	130u
#define STEP	2u /* pixels a column */
#define COLUMNS 400u
#define TOP	44u
#define SPACE	22u
#define LINE	18u

static const char css[] =
	"svg{color-scheme:light dark;font:12px sans-serif}"
	".paper{fill:#fff}.ink{fill:#1b1b1b}.dim{fill:#555}"
	".frame,.act{fill:none;stroke:#888}.act{stroke-dasharray:2 3}"
	".quiet{fill:none;stroke:#888;stroke-dasharray:1 4}"
	".level{fill:#3572b0}.some{fill:#d98a1f}.full{fill:#b3261e}"
	"@media(prefers-color-scheme:dark){.paper{fill:#16181c}.ink{fill:#eee}.dim{fill:#aaa}"
	".level{fill:#6aa5e0}.some{fill:#e0a04a}.full{fill:#ee6b5f}}";

struct panel {
	const char *name;
	unsigned height;
	unsigned graph[2]; /* one over the other; the same: one */
};

static const struct panel panels[] = {
	{"memory", 110, {0, 0}},
	{"memory pressure", 64, {1, 2}},
	{"CPU pressure", 64, {3, 4}},
	{"I/O pressure", 64, {5, 6}},
};

struct svg {
	FILE *out;
	const struct pressure_view *v;
	struct span span;
	unsigned y; /* where the next thing begins */
};

/* Printable ASCII, as escaped lines and titles are; and no markup. */
static void words(FILE *out, const char *text)
{
	static const struct {
		char c;
		const char *name;
	} marked[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}};

	for (; *text; text++) {
		size_t i = 0;

		while (i < array_size(marked) && marked[i].c != *text)
			i++;
		if (i < array_size(marked))
			fputs(marked[i].name, out);
		else
			fputc(*text, out);
	}
}

static void label(const struct svg *s, unsigned x, unsigned y, const char *class, const char *text)
{
	fprintf(s->out, "<text x=\"%u\" y=\"%u\" class=\"%s\">", x, y, class);
	words(s->out, text);
	fputs("</text>\n", s->out);
}

static unsigned x_of(unsigned column)
{
	return LEFT + column * STEP;
}

/* Columns as one path, filled down to the base. */
static void shape(const struct svg *s, const struct column *c, const char *class, uint64_t top,
	unsigned base, unsigned height)
{
	fprintf(s->out, "<path class=\"%s\" d=\"", class);
	for (unsigned i = 0; i < COLUMNS; i++) {
		double high = top ? (double)c[i].value * height / (double)top : 0;

		if (c[i].kind == COLUMN_NONE || c[i].value == 0)
			continue;
		fprintf(s->out, "M%u %uv-%.1fh%uv%.1fz", x_of(i), base, high, STEP, high);
	}
	fputs("\"/>\n", s->out);
}

static void quiet(const struct svg *s, const struct column *c, unsigned base)
{
	fputs("<path class=\"quiet\" d=\"", s->out);
	for (unsigned i = 0; i < COLUMNS; i++)
		if (c[i].kind == COLUMN_QUIET)
			fprintf(s->out, "M%u %uh%u", x_of(i), base - 1, STEP);
	fputs("\"/>\n", s->out);
}

/* "most 12.5%" or "most 61 MiB" */
static void most_of(char *dst, size_t size, const struct column *c, unsigned graph)
{
	uint64_t most = graph_top(c, COLUMNS);
	char bytes[16];

	figure_bytes(bytes, sizeof(bytes), most);
	if (pressure_is_level(graph))
		snprintf(dst, size, "most %s", bytes);
	else
		snprintf(dst, size, "%s: most %.1f%%",
			strrchr(pressure_graphs[graph].name, ' ') + 1, (double)most / 100);
}

static void scale(const struct svg *s, const struct panel *p, uint64_t top)
{
	char bytes[16], text[40];

	figure_bytes(bytes, sizeof(bytes), top);
	if (!pressure_is_level(p->graph[0]))
		snprintf(text, sizeof(text), "scale to 100%%");
	else
		snprintf(text, sizeof(text), "%s %s", pressure_limit(s->v) ? "limit" : "scale to",
			bytes);
	label(s, 8, s->y + 28, "dim", text);
}

static void draw_panel(struct svg *s, const struct panel *p)
{
	static const char *const classes[] = {"some", "full"};
	struct column c[COLUMNS];
	char text[40];

	label(s, 8, s->y + 12, "ink", p->name);
	fprintf(s->out, "<rect class=\"frame\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>\n",
		LEFT, s->y, COLUMNS * STEP, p->height);
	for (unsigned i = 0; i < array_size(p->graph); i++) {
		unsigned graph = p->graph[i];
		uint64_t top = pressure_columns(s->v, &s->span, graph, c);

		if (i == 0) {
			scale(s, p, top);
			quiet(s, c, s->y + p->height);
		} else if (graph == p->graph[0]) {
			break;
		}
		shape(s, c, pressure_is_level(graph) ? "level" : classes[i], top, s->y + p->height,
			p->height);
		most_of(text, sizeof(text), c, graph);
		label(s, 8, s->y + 44 + i * 16, "dim", text);
	}
	s->y += p->height + SPACE;
}

/* Each action a line through all panels, its mark below. */
static void draw_marks(struct svg *s)
{
	char mark[2] = "";

	for (size_t i = 0; i < s->v->actions_len; i++) {
		unsigned x = x_of(span_column(&s->span, s->v->actions[i].boot_usec));

		fprintf(s->out, "<path class=\"act\" d=\"M%u %uV%u\"/>\n", x, TOP,
			s->y - SPACE + 4);
		mark[0] = pressure_mark(i);
		label(s, x, s->y - SPACE + 16 + (unsigned)(i % 3) * 11, "ink", mark);
	}
	s->y += 2 * LINE;
}

static void draw_axis(struct svg *s)
{
	char from[WHEN_TEXT], to[WHEN_TEXT];

	when_text(from, pressure_real(s->v, s->v->from));
	when_text(to, pressure_real(s->v, s->v->to));
	label(s, LEFT, s->y, "dim", from);
	fprintf(s->out, "<text x=\"%u\" y=\"%u\" class=\"dim\" text-anchor=\"end\">%s</text>\n",
		LEFT + COLUMNS * STEP, s->y, to);
	s->y += LINE;
}

static void draw_legend(struct svg *s)
{
	const struct pressure_view *v = s->v;
	char text[PRESSURE_LINE];

	label(s, 8, s->y += LINE, "dim",
		"Dotted: quiet; nothing was near, so nobody looked at memory (it is not 0), and pressure "
		"is the average. Empty: not known, or 0.");
	for (size_t i = 0; i < v->actions_len; i++) {
		pressure_line(text, sizeof(text), v, i);
		label(s, 8, s->y += LINE, "ink", text);
	}
	if (v->actions_more) {
		snprintf(text, sizeof(text), "and %zu earlier ones", v->actions_more);
		label(s, 8, s->y += LINE, "dim", text);
	}
	if (!v->actions_len)
		label(s, 8, s->y += LINE, "ink", "no actions");
	if (pressure_note(v))
		label(s, 8, s->y += LINE, "ink", pressure_note(v));
}

static unsigned height(const struct pressure_view *v)
{
	unsigned sum = TOP + 2 * LINE + LINE + LINE + 16;

	for (size_t i = 0; i < array_size(panels); i++)
		sum += panels[i].height + SPACE;
	sum += (unsigned)(v->actions_len ? v->actions_len : 1) * LINE;
	return sum + (v->actions_more ? LINE : 0) + (pressure_note(v) ? LINE : 0);
}

static void head(const struct svg *s, const char *title)
{
	fprintf(s->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\" role=\"img\" aria-labelledby=\"title desc\">\n"
		"<title id=\"title\">",
		WIDTH, height(s->v), WIDTH, height(s->v));
	words(s->out, title);
	fprintf(s->out,
		"</title>\n<desc id=\"desc\">Memory against its limit, the share of time in which some "
		"and in which all tasks waited for memory, CPU and I/O, over time. Actions of "
		"rules: %zu.</desc>\n<style>%s</style>\n"
		"<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
		s->v->actions_len, css);
}

void pressure_svg(FILE *out, const struct pressure_view *v)
{
	struct svg s = {
		.out = out,
		.v = v,
		.span = {.from = v->from, .to = v->to, .columns = COLUMNS},
		.y = TOP,
	};
	char title[256];

	pressure_title(title, sizeof(title), v);
	head(&s, title);
	label(&s, 8, 24, "ink", title);
	for (size_t i = 0; i < array_size(panels); i++)
		draw_panel(&s, &panels[i]);
	draw_marks(&s);
	draw_axis(&s);
	draw_legend(&s);
	fputs("</svg>\n", out);
}
