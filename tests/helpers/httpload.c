/* An open-loop load: requests begin at fixed times whether or not earlier ones have been answered,
 * each on a connection of its own, until standard input closes. Then one line per failure and one
 * of sums:
 *
 *   httpload PORT RATE
 *   fail KIND BEGIN END            KIND refused, reset, timeout or other; CLOCK_MONOTONIC usec
 *   done N ok N refused N reset N timeout N other N p50 USEC p99 USEC max USEC */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SLOTS	     16384
#define EVENTS	     256
#define TIMEOUT_USEC 20000000u
#define SOURCES	     200u /* client addresses: ports would run out of one */
#define TAG_TIMER    UINT32_MAX
#define TAG_STDIN    (UINT32_MAX - 1)

enum kind { OK, REFUSED, RESET, TIMEOUT, OTHER, KINDS };
static const char *const names[KINDS] = {"ok", "refused", "reset", "timeout", "other"};

struct request {
	int fd; /* -1: free */
	uint32_t got;
	uint64_t begin;
	char head[16];
};

static struct request slots[SLOTS];
static uint32_t free_slots[SLOTS], free_count;
static uint64_t counts[KINDS], begun;
static uint32_t *latencies;
static size_t latency_count, latency_room;
static struct failure {
	enum kind kind;
	uint64_t begin, end;
} * failures;
static size_t failure_count, failure_room;
static struct sockaddr_in server;
static int ep;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note_latency(uint64_t usec)
{
	if (latency_count == latency_room) {
		latency_room = latency_room ? latency_room * 2 : 65536;
		latencies = realloc(latencies, latency_room * sizeof(*latencies));
		if (!latencies)
			exit(1);
	}
	latencies[latency_count++] = (uint32_t)usec;
}

/* Told at the end: whoever reads us may not read before, and nothing here may wait for him. */
static void note_failure(enum kind kind, uint64_t from, uint64_t to)
{
	if (failure_count == failure_room) {
		failure_room = failure_room ? failure_room * 2 : 65536;
		failures = realloc(failures, failure_room * sizeof(*failures));
		if (!failures)
			exit(1);
	}
	failures[failure_count++] = (struct failure){kind, from, to};
}

static void end(uint32_t i, enum kind kind)
{
	struct linger gone = {1, 0};
	struct request *r = &slots[i];
	uint64_t t = now();

	/* no TIME_WAIT: it would use up the ports */
	setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &gone, sizeof(gone));
	close(r->fd);
	r->fd = -1;
	free_slots[free_count++] = i;
	counts[kind]++;
	if (kind == OK)
		note_latency(t - r->begin);
	else
		note_failure(kind, r->begin, t);
}

static enum kind kind_of(int err)
{
	return err == ECONNREFUSED ? REFUSED : err == ECONNRESET || err == EPIPE ? RESET : OTHER;
}

static void begin(uint64_t at)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	struct epoll_event e = {.events = EPOLLOUT};
	struct request *r;
	int on = 1;

	if (free_count == 0)
		exit(2); /* the load can't be kept up: nothing would be measured */
	e.data.u32 = free_slots[--free_count];
	r = &slots[e.data.u32];
	*r = (struct request){.begin = at};
	from.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(begun++ % SOURCES));
	r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(r->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		exit(3);
	if (connect(r->fd, (struct sockaddr *)&server, sizeof(server)) != 0 &&
		errno != EINPROGRESS) {
		end(e.data.u32, kind_of(errno));
		return;
	}
	epoll_ctl(ep, EPOLL_CTL_ADD, r->fd, &e);
}

static void send_request(uint32_t i)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(slots[i].fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err == 0 && send(slots[i].fd, text, sizeof(text) - 1, MSG_NOSIGNAL) < 0)
		err = errno;
	if (err)
		end(i, kind_of(err));
	else
		epoll_ctl(ep, EPOLL_CTL_MOD, slots[i].fd, &e);
}

static void take_answer(uint32_t i)
{
	struct request *r = &slots[i];
	char buf[512];
	ssize_t n = read(r->fd, buf, sizeof(buf));
	size_t more;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		end(i, kind_of(errno));
		return;
	}
	if (n == 0) { /* an end without an answer is one that the server died in */
		end(i, r->got >= 12 && memcmp(r->head, "HTTP/1.1 200", 12) == 0 ? OK : RESET);
		return;
	}
	more = r->got < sizeof(r->head) ? sizeof(r->head) - r->got : 0;
	memcpy(r->head + r->got, buf, (size_t)n < more ? (size_t)n : more);
	r->got += (uint32_t)((size_t)n < more ? (size_t)n : more);
}

static void on_event(const struct epoll_event *e)
{
	if (slots[e->data.u32].fd < 0)
		return;
	if (e->events & EPOLLOUT)
		send_request(e->data.u32);
	else
		take_answer(e->data.u32);
}

static void expire(void)
{
	uint64_t t = now();

	for (uint32_t i = 0; i < SLOTS; i++)
		if (slots[i].fd >= 0 && t - slots[i].begin > TIMEOUT_USEC)
			end(i, TIMEOUT);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t percentile(unsigned per_mille)
{
	return latency_count ? latencies[(latency_count - 1) * per_mille / 1000] : 0;
}

static void report(void)
{
	for (size_t i = 0; i < failure_count; i++)
		printf("fail %s %llu %llu\n", names[failures[i].kind],
			(unsigned long long)failures[i].begin, (unsigned long long)failures[i].end);
	qsort(latencies, latency_count, sizeof(*latencies), compare);
	printf("done %llu", (unsigned long long)begun);
	for (int k = 0; k < KINDS; k++)
		printf(" %s %llu", names[k], (unsigned long long)counts[k]);
	printf(" p50 %u p99 %u max %u\n", percentile(500), percentile(990), percentile(1000));
}

static void watch(int fd, uint32_t tag)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = tag};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0)
		exit(4);
}

/* Until standard input closes, and then until what is under way has ended. */
static void run(unsigned rate, int timer, uint64_t start)
{
	struct epoll_event events[EVENTS];
	uint64_t ticks, due = 0, last_look = start;
	int more = 1, n;

	while (more || free_count < SLOTS) {
		n = epoll_wait(ep, events, EVENTS, 100);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == TAG_STDIN) {
				more = 0;
				epoll_ctl(ep, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
			} else if (events[i].data.u32 == TAG_TIMER) {
				if (read(timer, &ticks, sizeof(ticks)) < 0)
					continue;
			} else {
				on_event(&events[i]);
			}
		}
		for (uint64_t t = now(); more && start + due * 1000000 / rate <= t; due++)
			begin(start + due * 1000000 / rate);
		if (now() - last_look > 1000000) {
			expire();
			last_look = now();
		}
	}
}

int main(int argc, char **argv)
{
	unsigned rate = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	struct itimerspec every = {0};
	uint64_t start;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (!rate || timer < 0)
		return 64;
	server = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (uint32_t i = 0; i < SLOTS; i++) {
		slots[i].fd = -1;
		free_slots[free_count++] = SLOTS - 1 - i;
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	every.it_value.tv_nsec = every.it_interval.tv_nsec = 1000000000 / (long)rate;
	start = now(); /* before the timer's: a tick that comes early would begin nothing till the
			  next */
	timerfd_settime(timer, 0, &every, NULL);
	watch(timer, TAG_TIMER);
	watch(STDIN_FILENO, TAG_STDIN);
	run(rate, timer, start);
	report();
	return 0;
}
