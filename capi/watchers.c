#define _GNU_SOURCE
#include "watchers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Says whether somebody still has the other end. One that is full, and takes no more,
   is readable already. */
static int wake(int end)
{
	char byte = 1;
	struct iovec text = {&byte, 1};
	struct msghdr message = {0};

	message.msg_iov = &text;
	message.msg_iovlen = 1;
	return sendmsg(end, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || (errno != EPIPE && errno != ECONNRESET);
}

/* Says whether the other end was closed. */
static int is_gone(int end)
{
	char byte;

	return recv(end, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Whoever asks for a descriptor, closes it and asks again, while nothing completes, would
   otherwise fill the process with ends of ours. */
static void close_gone(struct watchers *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++) {
		if (is_gone(w->ends[i]))
			close(w->ends[i]);
		else
			w->ends[kept++] = w->ends[i];
	}
	w->count = kept;
}

/* Room grows unless half of it came free, so that the search above is rare. */
static int make_room(struct watchers *w)
{
	size_t room = w->room == 0 ? 4 : 2 * w->room;
	int *ends;

	if (w->count < w->room)
		return 1;
	close_gone(w);
	if (w->count < w->room / 2)
		return 1;
	ends = realloc(w->ends, room * sizeof *ends);
	if (ends == NULL)
		return 0;
	w->ends = ends;
	w->room = room;
	return 1;
}

/* Sockets rather than pipes: a write to one whose reader is gone can be kept from
   raising SIGPIPE in the host. */
int watchers_add(struct watchers *w, int awake)
{
	int pair[2];

	if (!make_room(w) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	if (awake)
		wake(pair[1]);
	w->ends[w->count++] = pair[1];
	return pair[0];
}

/* Says whether somebody still has the other end. */
static int has_reader(int end)
{
	struct pollfd look = {end, 0, 0};

	return poll(&look, 1, 0) <= 0 || (look.revents & (POLLHUP | POLLERR)) == 0;
}

static void keep(struct watchers *w, int (*is_there)(int end))
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++) {
		if (is_there(w->ends[i]))
			w->ends[kept++] = w->ends[i];
		else
			close(w->ends[i]);
	}
	w->count = kept;
}

void watchers_wake(struct watchers *w) { keep(w, wake); }

size_t watchers_left(struct watchers *w)
{
	keep(w, has_reader);
	return w->count;
}

void watchers_close(struct watchers *w)
{
	for (size_t i = 0; i < w->count; i++)
		close(w->ends[i]);
	free(w->ends);
	*w = (struct watchers){NULL, 0, 0};
}
